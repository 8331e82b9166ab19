//go:build interleave && linux && !netconn

package netpoll

// The server of a socket of datagrams under every schedule: one goroutine receives at a time, whatever is reported
// meanwhile, nothing that arrives is forgotten, and the end comes once, when no handler runs.

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/cloudwego/netpoll/internal/interleave"
	"github.com/cloudwego/netpoll/internal/interleave/explored"
	"github.com/cloudwego/netpoll/internal/interleave/sync"
)

var errPacketsOver = errors.New("over")

// mailbox is a socket of datagrams that is made of memory. Each of its operations is a step.
type mailbox struct {
	udpSocket
	r    *interleave.Run
	loop *packetLoop
	s    *packetServer

	arrived  int // datagrams that were not received
	handled  int // those that the handler has had
	handling bool
	noMemory int  // so many calls fail for want of memory
	expired  bool // a deadline has passed
	closed   bool // the socket
}

// newMailbox makes a socket and its server, which has yet to begin.
func newMailbox(r *interleave.Run) *mailbox {
	m := &mailbox{r: r}
	c, err := newUDPConn(m, "udp")
	if err != nil {
		r.Failf("%v", err)
	}
	m.loop = &packetLoop{on: m.onPacket, guarded: true, opts: newPacketOptions(nil), slabs: newSlabPool(2, 8)}
	m.s = newPacketServer(m.loop, c)
	if err := c.bind(m.s); err != nil {
		r.Failf("%v", err)
	}
	return m
}

func (m *mailbox) LocalAddr() net.Addr  { return nil }
func (m *mailbox) RemoteAddr() net.Addr { return nil }

// arrives is the peer's sending.
func (m *mailbox) arrives() {
	interleave.Step("arrives", m)
	m.arrived++
}

// onPacket is the handler.
func (m *mailbox) onPacket(_ context.Context, _ *UDPConn, packets []Packet) error {
	if m.handling {
		m.r.Failf("two handlers at once")
	}
	m.handling = true
	interleave.Step("handler", m)
	m.handling = false
	m.handled += len(packets)
	m.insideNotDone("a handler runs")
	return nil
}

func (m *mailbox) insideNotDone(what string) {
	if isClosed(m.s.done) {
		m.r.Failf("%s after the end", what)
	}
}

// ReadMsgUDPAddrPort waits for a datagram, a deadline, or Close.
func (m *mailbox) ReadMsgUDPAddrPort(p, _ []byte) (n, oobn, flags int, addr netip.AddrPort, err error) {
	interleave.Await("receive", m, func() bool { return m.arrived > 0 || m.expired || m.closed })
	m.insideNotDone("receiving")
	switch {
	case m.closed:
		return 0, 0, 0, addr, net.ErrClosed
	case m.expired:
		return 0, 0, 0, addr, os.ErrDeadlineExceeded
	}
	m.arrived--
	return 0, 0, 0, addr, nil
}

func (m *mailbox) SetReadDeadline(t time.Time) error {
	interleave.Step("deadline", m)
	m.expired = !t.IsZero()
	return nil
}

func (m *mailbox) Close() error {
	interleave.Step("close", m)
	m.closed = true
	return nil
}

// readBy makes a goroutine of the server receive, as packetReader.open does.
func (m *mailbox) readBy() {
	reader := m.s.source.(*packetReader)
	m.r.Go("reader", func() {
		if m.s.begin() {
			reader.receive()
		}
	})
}

// A socket is received from until something ends it, whatever deadlines the program sets, and then the goroutine ends.
func TestSchedulePacketReaderReceivesUntilItsEnd(t *testing.T) {
	for name, ends := range map[string]func(m *mailbox){
		"Close":       func(m *mailbox) { _ = m.s.conn.Close() },
		"Shutdown":    func(m *mailbox) { m.s.end(nil) },
		"after both":  func(m *mailbox) { m.s.end(nil); _ = m.s.conn.Close() },
		"at its time": func(m *mailbox) { interleave.Await("all", m, func() bool { return m.handled == 2 }); m.s.end(nil) },
	} {
		t.Run(name, func(t *testing.T) {
			explored.Explore(t, 2, func(r *interleave.Run) {
				m := newMailbox(r)
				m.readBy()
				r.Go("peer", func() {
					m.arrives()
					m.arrives()
				})
				r.Go("program", func() { _ = m.s.conn.SetReadDeadline(time.Unix(1, 0)) })
				r.Go("end", func() { ends(m) })
				r.Check(func() {
					if !isClosed(m.s.done) || m.s.state != packetsIdle || m.handled+m.arrived != 2 {
						r.Failf("done: %v, %v, %d handled", isClosed(m.s.done), m.s.state, m.handled)
					}
				})
			})
		})
	}
}

// Serve that begins while Shutdown does: one of them ends the server.
func TestSchedulePacketShutdownAgainstServe(t *testing.T) {
	explored.Explore(t, 3, func(r *interleave.Run) {
		m := newMailbox(r)
		added := false
		r.Go("serve", func() {
			if added = m.loop.add(m.s); added && m.s.begin() {
				m.s.source.(*packetReader).receive()
			}
		})
		r.Go("shutdown", func() {
			for _, s := range m.loop.beginShutdown() {
				s.end(nil)
			}
		})
		r.Check(func() {
			if added && (!isClosed(m.s.done) || m.s.err != nil) {
				r.Failf("it serves after Shutdown")
			}
		})
	})
}

// watched is the source of a mailbox that a poller watches. It works like a packetWatch.
type watched struct {
	*mailbox
	w *packetWatch // for what comes after receiving

	watch     sync.Mutex // as that of a watch
	asked     bool       // guarded by watch
	over      bool       // close was called
	receiving bool
	rests     bool // a back-off has begun
}

// newWatched makes a mailbox whose server is called by a poller.
func newWatched(r *interleave.Run) *watched {
	w := &watched{mailbox: newMailbox(r)}
	w.s.source, w.w = w, &packetWatch{s: w.s}
	w.w.task = w.receive
	w.asked = true
	r.Daemon("poller", w.ready, w.poll)
	r.Check(w.check)
	return w
}

func (w *watched) open() error { return nil }

// updateInterest works like that of a watch.
func (w *watched) updateInterest() {
	w.watch.Lock()
	defer w.watch.Unlock()
	w.asked = w.w.interest()&evRead != 0
}

func (w *watched) close() {
	w.watch.Lock()
	defer w.watch.Unlock()
	w.over = true
}

// ready says that there is something to report.
func (w *watched) ready() bool { return w.asked && !w.over && w.arrived > 0 }

func (w *watched) poll() {
	for {
		interleave.Await("look", w, w.ready)
		w.w.onPoll(evRead, new(batch))
		if w.ready() {
			w.r.Idle() // the event comes again until another thread acts
		}
	}
}

// receive works like that of a packetWatch.
func (w *watched) receive() {
	then := finishNow
	defer func() {
		w.w.goOn(then)
		w.rests = then == finishLater
	}()
	for !w.s.hasEnded() {
		if w.receiving {
			w.r.Failf("two receive at a time")
		}
		w.receiving = true
		interleave.Step("receive", w)
		w.receiving = false
		w.insideNotDone("receiving")
		switch {
		case w.noMemory > 0:
			w.noMemory--
			then = finishLater
			return
		case w.arrived == 0:
			return
		}
		w.arrived--
		w.s.handle(make([]Packet, 1))
	}
}

func (w *watched) check() {
	switch {
	case w.s.state != packetsIdle:
		w.r.Failf("nobody receives: %v", w.s.state)
	case w.s.ended != w.over, w.s.ended != isClosed(w.s.done):
		w.r.Failf("ended %v, source closed %v, done %v", w.s.ended, w.over, isClosed(w.s.done))
	case !w.s.ended && (w.arrived > 0 || !w.asked):
		w.r.Failf("%d datagrams wait, input is reported: %v", w.arrived, w.asked)
	}
}

// passes lets the time of a back-off pass.
func (w *watched) passes() {
	interleave.Step("pass", w)
	w.r.Advance(minBackOff)
}

func TestSchedulePacketServerReceivesWhatArrives(t *testing.T) {
	explored.Explore(t, 3, func(r *interleave.Run) {
		w := newWatched(r)
		r.Go("peer", func() {
			for range 3 {
				w.arrives()
			}
		})
		r.Check(func() {
			if w.handled != 3 {
				r.Failf("%d handled", w.handled)
			}
		})
	})
}

// A want of memory ends nothing: the server receives what has arrived when its time has come.
func TestSchedulePacketServerReceivesAfterABackOff(t *testing.T) {
	explored.Explore(t, 2, func(r *interleave.Run) {
		w := newWatched(r)
		w.noMemory = 1
		r.Go("peer", func() {
			w.arrives()
			w.arrives()
		})
		r.Go("clock", func() {
			interleave.Await("rests", w, func() bool { return w.rests })
			w.passes()
		})
		r.Check(func() {
			if w.handled != 2 {
				r.Failf("%d handled", w.handled)
			}
		})
	})
}

// The end at any moment, twice at once: the first reason counts, the source is closed, and no handler runs when Serve
// may return.
func TestSchedulePacketServerEndsOnce(t *testing.T) {
	for name, failing := range map[string]int{"in order": 0, "in a back-off": 1} {
		t.Run(name, func(t *testing.T) {
			explored.Explore(t, 2, func(r *interleave.Run) {
				w := newWatched(r)
				w.noMemory = failing
				ends := 0
				w.s.onEnd = func() { ends++ }
				r.Go("peer", func() {
					for range 2 - failing {
						w.arrives()
					}
				})
				r.Go("end", func() { w.s.end(errPacketsOver) })
				r.Go("close", func() { _ = w.s.conn.Close() })
				if failing > 0 {
					r.Go("clock", func() {
						interleave.Await("ended", w, func() bool { return w.s.ended })
						w.passes()
					})
				}
				r.Check(func() {
					if ends != 1 || !w.s.ended || !errors.Is(w.s.err, errPacketsOver) && !errors.Is(w.s.err, net.ErrClosed) {
						r.Failf("%d ends, %v, %v", ends, w.s.ended, w.s.err)
					}
				})
			})
		})
	}
}
