//go:build interleave && linux && !netconn && !kqsim

package netpoll

// Shared memory under every schedule: the ring and its transport, between two sides that each have a poller. The sockets
// and the epoll descriptors are real, the rings are memory of this process. See package shmring for the order of steps that
// this is about.

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/interleave"
	"github.com/cloudwego/netpoll/internal/interleave/explored"
	"github.com/cloudwego/netpoll/internal/metric"
	"github.com/cloudwego/netpoll/internal/shmring"
)

const exploredRing = shmring.MinRing

// shmSide is one side: the upper layer of a transport, and its poller.
type shmSide struct {
	upperLayer // for what no transport over shared memory calls
	r          *interleave.Run
	t          *shmTransport
	p          *poller
	mem        []byte // its region
	room_      []byte

	in      []byte
	limit   int   // for input that nobody has taken
	ended   error // of the input
	pending []byte
	waiting bool // pending is left to the poller
	sendErr error
	sending bool
	refs    int // by threads that use the transport
	closing bool
	freed   bool
}

// shmPollers are two pollers for all schedules of a test: only their epoll descriptors are used.
func shmPollers(t *testing.T) (list [2]*poller) {
	for i := range list {
		sel, err := newSelector()
		require.NoError(t, err)
		t.Cleanup(sel.close)
		list[i] = makePoller(sel, nil, new(metric.Set))
	}
	return list
}

// exploreShm explores a scenario between two sides that have begun.
func exploreShm(t *testing.T, preemptions int, scenario func(r *interleave.Run, a, b *shmSide)) {
	t.Helper()
	pollers := shmPollers(t)
	explored.Explore(t, preemptions, func(r *interleave.Run) {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			r.Failf("socketpair: %v", err)
			return
		}
		var sides [2]*shmSide
		for i := range sides {
			sides[i] = &shmSide{
				r: r, p: pollers[i], limit: 1 << 20, room_: make([]byte, exploredRing),
				mem: make([]byte, shmring.Header+exploredRing),
			}
		}
		for i, s := range sides {
			link := &shmLink{UnixConn: new(net.UnixConn), own: shmring.NewRegion(s.mem), peer: shmring.NewRegion(sides[1-i].mem)}
			s.t = newShmTransport(fds[i], link, s)
		}
		for _, s := range sides {
			s.t.wakePeer() // as start does
			if err := s.t.watch.open(s.p, s.t.sysfd, s.t, s.t.interest()); err != nil {
				r.Failf("watch: %v", err)
			}
			r.Quiet(&s.t.watch.by, &s.p.dead, &s.p.closing)
		}
		for _, s := range sides { // the first wake-up of each is reported
			if ev := s.look(); ev != 0 {
				s.t.onPoll(ev, nil)
			}
		}
		scenario(r, sides[0], sides[1])
		for i, s := range sides {
			r.Daemon([]string{"poller a", "poller b"}[i], s.reports, s.poll)
		}
		r.Check(func() {
			for _, s := range sides {
				s.check()
			}
		})
	})
}

// look lets the poller see what its descriptor has to report. It returns 0 for nothing.
func (s *shmSide) look() (ev pollEvent) {
	n, err := s.p.sel.look(1)
	if err != nil || n > 1 {
		s.r.Failf("look: %d events, %v", n, err)
	}
	if n == 1 {
		_, ev = s.p.sel.event(0)
	}
	return ev
}

// reports asks the system whether there is something to report, which changes nothing.
func (s *shmSide) reports() bool {
	fds := []unix.PollFd{{Fd: int32(s.p.sel.epfd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, 0)
	return n > 0 && err == nil
}

func (s *shmSide) poll() {
	for {
		interleave.Await("look", s, s.reports)
		if ev := s.look(); ev != 0 {
			s.t.onPoll(ev, nil)
		}
	}
}

// check checks what holds after every schedule, and frees what is left.
func (s *shmSide) check() {
	switch {
	case s.refs > 0 || s.sending:
		s.r.Failf("somebody is still inside: %d", s.refs)
	case s.freed != s.closing:
		s.r.Failf("closed %t, freed %t", s.closing, s.freed)
	}
	if !s.freed {
		s.free()
	}
}

func (s *shmSide) free() {
	s.freed = true
	if err := s.t.release(false); err != nil {
		s.r.Failf("release: %v", err)
	}
}

// hold takes a reference, unless the side is closed.
func (s *shmSide) hold() bool {
	interleave.Step("hold", s)
	if s.closing {
		return false
	}
	s.refs++
	return true
}

// leave gives a reference up. The last one frees.
func (s *shmSide) leave() {
	interleave.Step("leave", s)
	if s.refs--; s.refs == 0 && s.closing {
		s.free()
	}
}

// close is the Close of a connection.
func (s *shmSide) close() {
	if !s.hold() {
		return
	}
	s.closing = true
	_ = s.t.stop(false)
	s.leave()
}

// interest implements input.
func (s *shmSide) interest() (ev pollEvent) {
	interleave.Step("interest", s)
	if s.closing {
		return 0
	}
	if s.ended == nil && len(s.in) < s.limit {
		ev |= evRead | evHup
	}
	if s.waiting {
		ev |= evWrite
	}
	return ev
}

// begin implements input.
func (s *shmSide) begin(ev pollEvent) bool {
	if !s.hold() {
		return false
	}
	if ev&evWrite != 0 && s.waiting {
		s.send()
		s.waiting = len(s.pending) > 0
	}
	return true
}

func (s *shmSide) end() { s.leave() }

// wants implements input.
func (s *shmSide) wants(bool) bool {
	interleave.Step("wants", s)
	return s.ended == nil && !s.closing && len(s.in) < s.limit
}

func (*shmSide) expect(int) {}

func (s *shmSide) room(most int) []byte { return s.room_[:min(most, len(s.room_), s.limit)] }

func (s *shmSide) put(n int) { s.in = append(s.in, s.room_[:n]...) }

// fed implements input. It always lets others have their turn, so what is left must be reported again.
func (s *shmSide) fed(_ int, _, _ bool, err error, _ *batch) (more bool) {
	if err != nil {
		s.ended = err
	}
	return false
}

// next would be for a ring of the kernel.
func (s *shmSide) next() (size, lacks int) { return len(s.room_), 0 }

// send sends pending output as long as it can. The rest is for the poller.
func (s *shmSide) send() {
	if s.sending {
		s.r.Failf("two send at a time")
	}
	s.sending = true
	v := &vector{N: 1}
	v.Bufs[0] = s.pending
	n, err := s.t.send(v, 0)
	s.sending = false
	if s.pending = s.pending[n:]; err != nil && err != errWouldBlock {
		s.pending, s.sendErr = nil, err
	}
}

// write sends p, and waits until all of it is sent, or an error has come.
func (s *shmSide) write(p []byte) error {
	if !s.hold() {
		return net.ErrClosed
	}
	defer s.leave()
	s.pending = bytes.Clone(p)
	s.send()
	if len(s.pending) > 0 {
		s.waiting = true
		_ = s.t.updateInterest()
	}
	interleave.Await("written", s, func() bool { return !s.waiting || s.closing })
	return s.sendErr
}

// endWriting is CloseWrite.
func (s *shmSide) endWriting() {
	if s.hold() {
		_, _ = s.t.closeWrite()
		s.leave()
	}
}

// take waits for n bytes or the end, and takes what there is.
func (s *shmSide) take(n int) (p []byte, err error) {
	interleave.Await("read", s, func() bool { return len(s.in) >= min(n, s.limit) || s.ended != nil || s.closing })
	full := len(s.in) >= s.limit
	p, s.in = s.in, nil
	if full && s.hold() { // it has been paused
		_ = s.t.updateInterest()
		s.leave()
	}
	return p, s.ended
}

// readAll takes everything until the end.
func (s *shmSide) readAll() (all []byte, err error) {
	for err == nil && !s.closing {
		var p []byte
		p, err = s.take(1)
		all = append(all, p...)
	}
	return append(all, s.in...), err
}

// numbered returns n bytes that all depend on their place.
func numbered(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i ^ i>>8*7)
	}
	return p
}

// What is sent arrives, once, in order, and then its end. Nobody sleeps while there is something to do: the writer waits
// for room, and the reader for input.
func TestScheduleShmStreamArrives(t *testing.T) {
	sent := numbered(exploredRing + 100)
	exploreShm(t, 1, func(r *interleave.Run, a, b *shmSide) {
		r.Go("writer", func() {
			if err := a.write(sent); err != nil {
				r.Failf("write: %v", err)
			}
			a.endWriting()
		})
		r.Go("reader", func() {
			if got, err := b.readAll(); err != io.EOF || !bytes.Equal(got, sent) {
				r.Failf("%d of %d bytes arrived, which is right: %t; %v", len(got), len(sent), bytes.HasPrefix(sent, got), err)
			}
		})
	})
}

// A message and its answer, when both sides have begun to wait, or have not.
func TestScheduleShmMessagesAreAnswered(t *testing.T) {
	exploreShm(t, 2, func(r *interleave.Run, a, b *shmSide) {
		for _, side := range []struct {
			name  string
			s     *shmSide
			first bool
		}{{"a", a, true}, {"b", b, false}} {
			r.Go(side.name, func() {
				if side.first {
					_ = side.s.write([]byte("x"))
				}
				if p, err := side.s.take(1); string(p) != "x" || err != nil {
					r.Failf("%s has %q, %v", side.name, p, err)
				}
				if !side.first {
					_ = side.s.write([]byte("x"))
				}
			})
		}
	})
}

// A reader that goes on just when the last bytes come sees them.
func TestScheduleShmPauseEnds(t *testing.T) {
	exploreShm(t, 2, func(r *interleave.Run, a, b *shmSide) {
		b.limit = 2
		r.Go("writer", func() {
			_ = a.write([]byte("ab"))
			_ = a.write([]byte("c"))
		})
		r.Go("reader", func() {
			var got []byte
			for len(got) < 3 {
				p, err := b.take(1)
				if got = append(got, p...); err != nil {
					r.Failf("%v", err)
				}
			}
			if string(got) != "abc" {
				r.Failf("%q", got)
			}
		})
	})
}

// A side that closes has said so before it is gone: what it has sent arrives, and then the end. The other side, which waits
// for room meanwhile, gets an error.
func TestScheduleShmCloseAgainstBothDirections(t *testing.T) {
	exploreShm(t, 1, func(r *interleave.Run, a, b *shmSide) {
		a.limit = 1000 // and nobody reads
		r.Go("close", func() {
			_ = a.write([]byte("goodbye"))
			a.close()
		})
		r.Go("reader", func() {
			if got, err := b.readAll(); string(got) != "goodbye" || err != io.EOF {
				r.Failf("%q, %v", got, err)
			}
		})
		r.Go("writer", func() {
			if err := b.write(numbered(exploredRing + 2000)); err != syscall.EPIPE {
				r.Failf("the error of the writer is %v", err)
			}
		})
	})
}

// Close beside all that uses the transport: each ends, and the memory is freed once, when nobody uses it.
func TestScheduleShmCloseAgainstItsOwnUsers(t *testing.T) {
	exploreShm(t, 1, func(r *interleave.Run, a, b *shmSide) {
		b.limit = 1000
		_ = b.write([]byte("x"))
		r.Go("close", a.close)
		r.Go("writer", func() { _ = a.write(numbered(exploredRing + 2000)) })
		r.Go("interest", func() { _ = a.t.updateInterest() }) // without a reference, as CloseRead
	})
}

// A peer that is killed has not ended its stream: all that it has sent arrives, and then an error.
func TestScheduleShmKilledPeer(t *testing.T) {
	exploreShm(t, 2, func(r *interleave.Run, a, b *shmSide) {
		a.t.abort() // as a process that is gone: nothing says that the stream has ended
		r.Go("killed", func() {
			_ = a.write([]byte("half"))
			a.close()
		})
		r.Go("reader", func() {
			if got, err := b.readAll(); string(got) != "half" || err != syscall.ECONNRESET {
				r.Failf("%q, %v", got, err)
			}
		})
	})
}

// A reader that is woken for nothing finds an empty ring, and then the end: bytes that came between are not lost.
func TestScheduleShmEndComesAfterBytes(t *testing.T) {
	exploreShm(t, 1, func(r *interleave.Run, a, b *shmSide) {
		a.t.wakePeer()
		r.Go("peer", func() {
			_ = a.write([]byte("x"))
			a.endWriting()
		})
		r.Go("reader", func() {
			if got, err := b.readAll(); string(got) != "x" || err != io.EOF {
				r.Failf("%q, %v", got, err)
			}
		})
	})
}

// Where the counters of a region are: see package shmring.
const (
	exploredSent  = 0
	exploredTaken = 64
)

// Counters that cannot be right end the connection, whenever they come: for the reader, and for a writer.
func TestScheduleShmLies(t *testing.T) {
	for name, lie := range map[string]struct {
		at    int
		value uint64
	}{
		"sent more than there is room for": {exploredSent, 2*exploredRing + 1},
		"sent less than before":            {exploredSent, ^uint64(0)},
		"taken what was not sent":          {exploredTaken, 1 << 40},
	} {
		t.Run(name, func(t *testing.T) {
			exploreShm(t, 1, func(r *interleave.Run, a, b *shmSide) {
				a.limit = 0 // a receives nothing: what lies is in its place
				r.Go("liar", func() {
					interleave.Step("lie", a)
					binary.NativeEndian.PutUint64(a.mem[lie.at:], lie.value)
					a.t.wakePeer()
				})
				r.Go("reader", func() {
					if _, err := b.readAll(); !errors.Is(err, shmring.ErrCorrupt) {
						r.Failf("the reader's error is %v", err)
					}
				})
				r.Go("writer", func() {
					var err error
					for lie.at == exploredTaken && err == nil {
						err = b.write(numbered(exploredRing))
					}
					if err != nil && !errors.Is(err, shmring.ErrCorrupt) {
						r.Failf("the writer's error is %v", err)
					}
				})
			})
		})
	}
}
