//go:build !netconn && !kqsim

package netpoll

// This file holds the transport over shared memory: the bytes go through two rings, and a Unix socket between the two
// sides carries nothing but wake-ups, one byte each, and tells when the other side is gone.
//
// A poller watches the socket edge-triggered. So a wake-up is reported although those before it have not been read, which
// saves a system call for each; from time to time they are read, or there would be no room for more. One is always left:
// the first, which each side sends when it begins. So whenever the interest is changed the poller reports the socket, and
// the transport changes it for no other reason: what is in the rings the poller cannot see, and this is how input that was
// left for the next batch, or that came before anybody wanted it, is reported.
//
// Who waits says so in its own region, and then looks again; who has sent, or received, does that first, and then looks
// whether the other side waits. So one of both sees the other: see shmring.Pair.

import (
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/interleave/atomic"
	"github.com/cloudwego/netpoll/internal/interleave/sync"
	"github.com/cloudwego/netpoll/internal/shmring"
	"github.com/cloudwego/netpoll/internal/sock"
)

// shmTransport owns its regions and the descriptor of its socket until release.
type shmTransport struct {
	socket // for the wake-ups
	pair   *shmring.Pair
	own    *shmring.Region
	peer   *shmring.Region

	gone    atomic.Bool // the peer has closed its socket; stored by the receiving goroutine and by senders
	failure atomic.Pointer[connError]
	aborted atomic.Bool // the peer shall see that the stream is cut
	freed   func()      // called when own is free again; may be nil
	unread  int         // reports since wake-ups were read; belongs to the poller

	counts    *ShmStatistics // may be nil
	receiving sync.Mutex     // held by the receiving goroutine
	busy      shmPolling

	// mu guards released, and with it the memory and the descriptor where the caller has no reference to the connection:
	// until begin has succeeded, and in updateInterest.
	mu       sync.Mutex
	released bool
}

var (
	_ transport   = (*shmTransport)(nil)
	_ pollHandler = (*shmTransport)(nil)
	_ receiver    = (*shmTransport)(nil)
	_ sender      = (*shmTransport)(nil)
)

// mostUnread is how many reports there may be before the wake-ups are read. There are two for each at most, and the socket
// has room for many times as many.
const mostUnread = 16

// newShmTransport makes a transport that owns what link has, for up.
func newShmTransport(fd int, link *shmLink, up upperLayer) *shmTransport {
	s := &shmTransport{own: link.own, peer: link.peer, pair: shmring.NewPair(link.own, link.peer)}
	s.sysfd, s.up, s.socket.local, s.freed = fd, up, link.LocalAddr(), link.freed
	s.busy.limit, s.counts = int64(link.busyPoll), link.counts
	link.own, link.peer, link.freed = nil, nil, nil
	return s
}

// start implements transport.
func (s *shmTransport) start() error {
	s.wakePeer()
	if err := s.watch.openAny(s.sysfd, s, s.interest()); err != nil {
		return err
	}
	return s.updateInterest() // an updateInterest may have come before there was a watch
}

// interest implements pollHandler.
func (s *shmTransport) interest() pollEvent { return evRead | evHup | evEdge }

// updateInterest implements transport. If what is wanted is there already the poller reports the socket, and if not the
// peer will wake this side.
func (s *shmTransport) updateInterest() error {
	if !s.unsettled() {
		return nil
	}
	return s.watch.updateInterest() // which does nothing after stop
}

// onPoll implements pollHandler.
func (s *shmTransport) onPoll(ev pollEvent, b *batch) {
	s.watch.servedBy(b)
	s.receiving.Lock()
	s.handle(s.meaning(ev), b)
	s.receiving.Unlock()
	_ = s.updateInterest()
}

// handle handles ev, and receives. The caller holds receiving.
func (s *shmTransport) handle(ev pollEvent, b *batch) {
	if s.up.begin(ev) {
		s.receiveAll(s.gone.Load(), b)
		s.up.end()
	}
}

// receiveAll receives until the ring is empty, or until the upper layer wants no more for now.
func (s *shmTransport) receiveAll(hup bool, b *batch) {
	for s.up.wants(hup) {
		s.up.expect(s.pair.Available())
		n, full, err := s.receive(s.up.room(sock.MaxTransfer))
		if n > 0 {
			s.busy.arrived()
		}
		s.up.put(n)
		if !s.up.fed(n, full, hup, err, b) {
			return
		}
	}
}

// meaning is what ev says about the stream. This side is awake from here on.
func (s *shmTransport) meaning(ev pollEvent) pollEvent {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.released {
		return ev & (evDetached | evErr)
	}
	s.pair.Awake()
	if ev&(evHup|evErr) != 0 {
		s.gone.Store(true) // neither side ends one direction of its socket
	} else if s.unread++; s.unread >= mostUnread {
		s.readWakeUps()
	}
	up := ev & evDetached
	if up != 0 {
		up |= ev & evErr
	}
	if s.gone.Load() {
		up |= evHup
	}
	if s.up.interest()&evWrite != 0 && (s.pair.Room() || s.gone.Load()) {
		up |= evWrite
	}
	return up
}

// unsettled asks the peer for the wake-ups that are wanted, and reports whether there is something to do already.
func (s *shmTransport) unsettled() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.released {
		return false
	}
	wanted := s.up.interest()
	input := wanted&evRead != 0 && s.pair.AwaitInput()
	room := wanted&evWrite != 0 && s.pair.AwaitRoom()
	return input || room || wanted&(evRead|evWrite) != 0 && (s.gone.Load() || s.failure.Load() != nil)
}

// readWakeUps reads all but one, and no more than a peer has sent that only wakes who waits. The caller holds mu.
func (s *shmTransport) readWakeUps() {
	s.unread = 0
	var p [8 * mostUnread]byte
	if there, err := unix.IoctlGetInt(s.sysfd, unix.TIOCINQ); err == nil && there > 1 {
		_, _ = sock.Recv(s.sysfd, p[:min(there-1, len(p))])
	}
}

// wakeUp is what goes over the socket.
var wakeUp = []byte{1}

// wakePeer sends a wake-up. If there is no room for it there are many that the peer has not read.
func (s *shmTransport) wakePeer() {
	s.counts.woke()
	err := error(unix.EINTR)
	for err == unix.EINTR {
		err = unix.Sendto(s.sysfd, wakeUp, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, nil)
	}
	switch err {
	case nil, unix.EAGAIN:
	case unix.EPIPE, unix.ECONNRESET, unix.ENOTCONN:
		s.gone.Store(true)
	default: // the peer would wait for ever
		_ = s.broken(os.NewSyscallError("sendto", err))
	}
}

// receive implements receiver.
func (s *shmTransport) receive(p []byte) (n int, full bool, err error) {
	if failure := s.failure.Load(); failure != nil {
		return 0, false, failure
	}
	gone := s.gone.Load() // in this order: what is true now was preceded by what follows
	ended := s.pair.Ended()
	n, err = s.take(p)
	switch {
	case n > 0:
		s.counts.moved(0, n)
		return n, n == len(p) || s.pair.Available() > 0, nil
	case err != nil:
		return 0, false, s.broken(err)
	case ended:
		return 0, false, io.EOF
	case gone:
		return 0, false, syscall.ECONNRESET
	}
	return 0, false, nil
}

// shmPiece is how many bytes are copied before the peer may use their room.
const shmPiece = 64 << 10

// take copies what is there into p, piece by piece: the peer fills the room of one while this side copies the next.
func (s *shmTransport) take(p []byte) (n int, err error) {
	for n < len(p) {
		k, wake, err := s.pair.Receive(p[n:min(len(p), n+shmPiece)])
		if wake {
			s.wakePeer()
		}
		if n += k; k == 0 || err != nil {
			return n, err
		}
	}
	return n, nil
}

// broken notes an error that has no errno, and returns it as one that ends the connection.
func (s *shmTransport) broken(err error) error {
	failure := &connError{err}
	s.failure.CompareAndSwap(nil, failure)
	return failure
}

// explain implements transport.
func (s *shmTransport) explain(errno syscall.Errno) error {
	if err := s.failure.Load(); err != nil && errno == syscall.EIO {
		return err
	}
	return errno
}

// send implements transport.
func (s *shmTransport) send(v *vector, _ int64) (n int, err error) {
	if s.gone.Load() {
		return 0, syscall.EPIPE
	}
	for _, p := range v.Bufs[:v.N] {
		k, err := s.pair.Send(p)
		if err != nil {
			err = s.broken(err)
			_ = s.updateInterest() // the reading side has to know, too
			return n, err
		}
		if n += k; k < len(p) {
			break
		}
	}
	if n == 0 && v.N > 0 {
		return 0, errWouldBlock
	}
	s.counts.moved(n, 0)
	if s.pair.WakesReader() {
		s.wakePeer()
	}
	return n, nil
}

func (s *shmTransport) sendLater() bool { return s.sendLaterBy(s) }

// beginReceive implements batchReceiver: no event is for a ring of the kernel.
func (s *shmTransport) beginReceive(pollEvent) (fd int, p []byte, ok bool) { return 0, nil, false }

// beginSend implements sender: what goes through memory is not for a ring of the kernel.
func (s *shmTransport) beginSend() (fd int, p []byte, ok bool) {
	s.sendPending()
	return 0, nil, false
}

// closeWrite implements transport.
func (s *shmTransport) closeWrite() (ended bool, err error) {
	s.pair.End()
	s.wakePeer()
	return true, nil
}

// stop implements transport. The descriptor alone is of no use to anybody.
func (s *shmTransport) stop(keep bool) error {
	if keep {
		return Exception(ErrUnsupported, "giving back the descriptor of shared memory")
	}
	s.busy.stopped.Store(true)
	return s.socket.stop(false)
}

// abort implements transport.
func (s *shmTransport) abort() { s.aborted.Store(true) }

// release implements transport. The peer can read what is in the ring: it has the memory, too.
func (s *shmTransport) release(bool) error {
	s.watch.close()
	err := s.free()
	if s.freed != nil {
		s.freed()
	}
	return err
}

// peerIsQuiet implements quietTransport: it looks at the memory, and for the end of the socket.
func (s *shmTransport) peerIsQuiet() bool {
	if s.gone.Load() || s.failure.Load() != nil || s.pair.Input() {
		return false
	}
	poll := []unix.PollFd{{Fd: int32(s.sysfd), Events: unix.POLLRDHUP}}
	n, err := unix.Poll(poll, 0)
	return n == 0 && err == nil
}

// free gives up the descriptor and the memory.
func (s *shmTransport) free() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.released = true
	if !s.aborted.Load() {
		s.pair.End()
	}
	err := sock.Close(s.sysfd)
	s.own.Free()
	s.peer.Free()
	return err
}

// fd implements endpoint: there is no descriptor that carries the bytes.
func (s *shmTransport) fd() int { return -1 }

// rawConn implements endpoint. Reading wake-ups, or writing them, would break the stream.
func (s *shmTransport) rawConn() (syscall.RawConn, error) {
	return nil, Exception(ErrUnsupported, "access to the descriptor of shared memory")
}

func (s *shmTransport) file(string) (*os.File, error) {
	return nil, Exception(ErrUnsupported, "a file of shared memory")
}

func (s *shmTransport) options() any { return nil }

func (s *shmTransport) setKeepAlive(int) error { return nil }
