//go:build linux && !netconn && !kqsim

package netpoll

// Simulated connections over shared memory. The peer uses the rings by hand, and never waits before it drains. All promises
// are those of plain connections.

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/shmring"
)

const simHasShm = true

// drawShm decides whether a connection goes over shared memory: many of those without TLS do, which a poller watches. It
// cannot be detached then.
func (p *simPlan) drawShm(r *rand.Rand) {
	size := [...]int{0, 4 << 10, 4 << 10, 32 << 10, defaultRing}[r.IntN(5)]
	if size == 0 || p.tls != 0 || p.carrier.foreign() || p.carrier == pairOfSockets {
		return
	}
	p.shm = size
	if p.carrier = dialedUnix; r.IntN(2) == 0 {
		p.carrier = servedUnix
	}
	if p.end == endDetach {
		p.end = endUserClose
	}
	p.byServer = p.byServer && p.carrier.served()
	p.rejected = p.rejected && p.carrier.served()
	if p.exits == "OnPrepare" {
		p.exits = "" // it would be Serve that ends
	}
}

// listenShm makes a listener whose rings are small.
func (w *simWorld) listenShm(address string) net.Listener {
	inner, err := net.ListenUnix("unix", &net.UnixAddr{Name: address, Net: "unix"})
	require.NoError(w.t, err)
	ln, err := NewShmListener(inner, ShmConfig{RingSize: 8 << 10})
	require.NoError(w.t, err)
	return ln
}

// dialShm makes a connection over shared memory, whose peer has accepted it.
func (w *simWorld) dialShm(l *simLife, ln net.Listener) (conn Connection, peer net.Conn, err error) {
	accepted := make(chan error, 1)
	go func() {
		raw, err := ln.Accept()
		if err == nil {
			peer, err = shmAccept(raw.(*net.UnixConn), &ShmConfig{RingSize: l.plan.shm}, new(atomic.Int64))
		}
		accepted <- err
	}()
	conn, err = (&ShmDialer{Config: ShmConfig{RingSize: 8 << 10}}).DialConnection(networkShm, ln.Addr().String(), simPatience)
	return conn, peer, errors.Join(err, <-accepted)
}

// agreeShm agrees on memory with a server.
func (p *simPlan) agreeShm(conn net.Conn) (net.Conn, error) {
	return shmConnect(conn.(*net.UnixConn), &ShmConfig{RingSize: p.shm})
}

// simRing is shared memory as a peer has it.
type simRing struct {
	link *shmLink
	raw  syscall.RawConn
	pair *shmring.Pair
	gone bool // the other side has closed its socket
}

func newSimRing(conn net.Conn, raw syscall.RawConn) *simRing {
	link := conn.(*shmLink)
	s := &simRing{link: link, raw: raw, pair: shmring.NewPair(link.own, link.peer)}
	s.wake() // as each side does at first
	return s
}

func (s *simRing) wake() {
	_ = s.raw.Write(func(fd uintptr) bool {
		_, _ = unix.SendmsgN(int(fd), wakeUp, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		return true
	})
}

// look takes the wake-ups that are there.
func (s *simRing) look() {
	_ = s.raw.Read(func(fd uintptr) bool {
		var p [100]byte
		n, _, err := unix.Recvfrom(int(fd), p[:], unix.MSG_DONTWAIT)
		s.gone = s.gone || n == 0 && err == nil || err != nil && err != unix.EAGAIN && err != unix.EINTR
		return true
	})
}

// send sends what there is room for.
func (s *simRing) send(p []byte) (n int, err error) {
	if s.look(); s.gone {
		return 0, unix.EPIPE
	}
	n, err = s.pair.Send(p)
	if n > 0 && s.pair.WakesReader() {
		s.wake()
	}
	return n, err
}

// receive receives what is there.
func (s *simRing) receive(p []byte) (n int, eof bool, err error) {
	s.look()
	gone, ended := s.gone, s.pair.Ended()
	n, wakes, err := s.pair.Receive(p)
	if wakes {
		s.wake()
	}
	if n == 0 && err == nil {
		if eof = ended; !ended && gone {
			err = unix.ECONNRESET
		}
	}
	return n, eof, err
}

// await waits for something to receive.
func (s *simRing) await(deadline time.Time) error {
	defer s.pair.Awake()
	if s.pair.AwaitInput() {
		return nil
	}
	_ = s.link.SetReadDeadline(deadline)
	_, err := s.link.Read(make([]byte, 100))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	s.gone = s.gone || err != nil // io.EOF, or a reset because wake-ups were left
	return nil
}

func (s *simRing) closeWrite() error {
	s.pair.End()
	s.wake()
	if s.look(); s.gone {
		return io.ErrClosedPipe
	}
	return nil
}

// end is what precedes Close, unless the stream is to be cut.
func (s *simRing) end() { s.pair.End() }
