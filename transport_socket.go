//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// This file holds the socket transport: a non-blocking stream socket watched by a poller.

import (
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/cloudwego/netpoll/internal/iobatch"
	"github.com/cloudwego/netpoll/internal/sock"
)

// receiver is a transport that receives on request.
type receiver interface {
	// receive receives into p, without waiting. full says that there may be more to receive at once. 0 bytes and no
	// error mean that there is no input. At the end of the stream the error is io.EOF.
	receive(p []byte) (n int, full bool, err error)
}

// deliver gives to the event ev that a poller has reported for from.
func deliver(from receiver, to input, ev pollEvent, b *batch) {
	if !to.begin(ev) {
		return
	}
	defer to.end()
	if ev&(evRead|evHup|evErr) != 0 {
		receiveAll(from, to, ev&(evHup|evErr) != 0, b)
	}
}

// receiveAll receives until from is drained, or until to wants no more for now.
func receiveAll(from receiver, to input, hup bool, b *batch) {
	for to.wants(hup) {
		n, full, err := from.receive(to.room(sock.MaxTransfer))
		to.put(n)
		if !to.fed(n, full, hup, err, b) {
			return
		}
	}
}

// socket owns its descriptor from the moment it is made until release. It is the handler of its watch.
type socket struct {
	sysfd int
	up    upperLayer
	watch watch
	local net.Addr
	peer  netip.AddrPort // of TCP, as the kernel gave it
}

var (
	_ transport     = (*socket)(nil)
	_ pollHandler   = (*socket)(nil)
	_ receiver      = (*socket)(nil)
	_ batchReceiver = (*socket)(nil)
	_ sender        = (*socket)(nil)
)

func (s *socket) start() error { return s.startFor(s) }

// startFor is start with h as the handler.
func (s *socket) startFor(h pollHandler) error {
	sock.NoSigpipe(s.sysfd)
	asked := s.interest()
	if err := s.watch.openAny(s.sysfd, h, asked); err != nil {
		return err
	}
	if s.interest() != asked { // an updateInterest may have come before there was a watch
		return s.updateInterest()
	}
	return nil
}

// interest implements pollHandler.
func (s *socket) interest() pollEvent { return s.up.interest() }

// onPoll implements pollHandler.
func (s *socket) onPoll(ev pollEvent, b *batch) {
	s.watch.servedBy(b)
	deliver(s, s.up, ev, b)
}

func (s *socket) updateInterest() error { return s.watch.updateInterest() }

func (s *socket) stop(bool) error {
	s.watch.close()
	return nil
}

// reportTo makes up the upper layer, before start.
func (s *socket) reportTo(up upperLayer) { s.up = up }

func (s *socket) blocks() bool { return false }

// deadlineChanged has nothing to do: send does not block.
func (s *socket) deadlineChanged() {}

// holdInput has nothing to do: the upper layer receives nothing.
func (s *socket) holdInput(int64) error { return nil }

// letInput has nothing to do, likewise.
func (s *socket) letInput() {}

// receive implements receiver.
func (s *socket) receive(p []byte) (n int, full bool, err error) {
	n, err = sock.Recv(s.sysfd, p)
	s.watch.countReceived(n)
	switch {
	case err == sock.ErrWouldBlock:
		return 0, false, nil
	case err != nil:
		return 0, false, err
	case n == 0:
		return 0, false, io.EOF
	}
	return n, n == len(p), nil
}

// beginReceive implements batchReceiver, for an event that is input alone.
func (s *socket) beginReceive(ev pollEvent) (fd int, p []byte, ok bool) {
	if ev != evRead {
		return 0, nil, false
	}
	if !s.up.begin(ev) {
		return 0, nil, true
	}
	if !s.up.wants(false) {
		s.up.end()
		return 0, nil, true
	}
	return s.sysfd, s.up.room(sock.MaxTransfer), true
}

// endReceive implements batchReceiver.
func (s *socket) endReceive(res int32, full bool, b *batch) {
	defer s.up.end()
	s.watch.servedBy(b)
	if res == iobatch.InDoubt { // the kernel may still write into the room
		s.up.loseRoom()
		s.up.fed(0, false, false, syscall.EIO, b)
		return
	}
	n := int(max(res, 0))
	s.up.put(n)
	switch errno := errnoOf(res); {
	case res > 0:
		if s.up.fed(n, full, false, nil, b) {
			receiveAll(s, s.up, false, b)
		}
	case res == 0:
		s.up.fed(0, false, false, io.EOF, b)
	case res == iobatch.NotExecuted || errno == syscall.ENOTSOCK: // a ring can receive from sockets only
		receiveAll(s, s.up, false, b)
	case errno != syscall.EAGAIN && errno != syscall.EINTR:
		s.up.fed(0, false, false, os.NewSyscallError("recv", errno), b)
	}
}

func (s *socket) send(v *vector, _ int64) (n int, err error) {
	n, err = sock.Sendv(s.sysfd, v)
	s.watch.countSent(n)
	return n, err
}

func (s *socket) sendLater() bool { return s.sendLaterBy(s) }

// sendLaterBy is sendLater with by as the sender.
func (s *socket) sendLaterBy(by sender) bool {
	w := s.watch.by.Load()
	return w != nil && w.sends.add(by)
}

// addPending implements sender.
func (s *socket) addPending() bool { return s.up.addPending() }

// sendPending implements sender.
func (s *socket) sendPending() { s.up.sendPending() }

// beginSend implements sender.
func (s *socket) beginSend() (fd int, p []byte, ok bool) {
	p, ok = s.up.beginPending()
	return s.sysfd, p, ok
}

// endSend implements sender.
func (s *socket) endSend(res int32) {
	switch errno := errnoOf(res); {
	case res == iobatch.NotExecuted || errno == syscall.ENOTSOCK: // a ring can send to sockets only
		s.up.endPending(0, errNotExecuted)
	case res == iobatch.InDoubt:
		s.up.endPending(0, errInDoubt)
	case errno == syscall.EAGAIN || errno == syscall.EINTR:
		s.up.endPending(0, errWouldBlock)
	case res < 0:
		s.up.endPending(0, errno)
	default:
		s.up.endPending(int(res), nil)
	}
}

func (s *socket) closeWrite() (ended bool, err error) { return true, sock.CloseWrite(s.sysfd) }

func (s *socket) canCloseWrite() bool { return true }

// abort implements transport. A Unix socket has no reset of its own.
func (s *socket) abort() { sock.ResetOnClose(s.sysfd) }

func (s *socket) release(keep bool) error {
	s.watch.close()
	if keep {
		return nil
	}
	sock.EndLinger(s.sysfd)
	return sock.Close(s.sysfd)
}

func (s *socket) explain(errno syscall.Errno) error { return errno }

func (s *socket) fd() int { return s.sysfd }

func (s *socket) netConn() net.Conn { return nil }

// rawConn implements endpoint: the descriptor is fd.
func (s *socket) rawConn() (syscall.RawConn, error) { return nil, ErrUnsupported }

func (s *socket) localAddr() net.Addr { return s.local }

func (s *socket) remoteAddr() net.Addr {
	if !s.peer.IsValid() {
		return nil
	}
	return net.TCPAddrFromAddrPort(s.peer)
}

func (s *socket) answersAtOnce() bool { return true }

// file implements endpoint. The file stays non-blocking.
func (s *socket) file(name string) (*os.File, error) {
	dup, err := sock.Duplicate(s.sysfd)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(dup), name), nil
}

func (s *socket) setKeepAlive(second int) error {
	return asUnsupported(sock.SetKeepAlive(s.sysfd, second))
}

func (s *socket) options() any { return socketOptions(s.sysfd) }

// socketOptions are the options of a descriptor, as package net has them on its connections.
type socketOptions int

func (fd socketOptions) MultipathTCP() (bool, error) { return sock.UsesMultipath(int(fd)), nil }

func (fd socketOptions) SetNoDelay(noDelay bool) error { return sock.SetNoDelay(int(fd), noDelay) }

func (fd socketOptions) SetLinger(sec int) error { return sock.SetLinger(int(fd), sec) }

func (fd socketOptions) SetReadBuffer(bytes int) error { return sock.SetReadBuffer(int(fd), bytes) }

func (fd socketOptions) SetWriteBuffer(bytes int) error { return sock.SetWriteBuffer(int(fd), bytes) }

func (fd socketOptions) SetKeepAlivePeriod(d time.Duration) error {
	return sock.SetKeepAlivePeriod(int(fd), d)
}

func (fd socketOptions) SetKeepAliveConfig(config net.KeepAliveConfig) error {
	return sock.SetKeepAliveConfig(int(fd), config)
}

// errnoOf returns the errno of a negative result; 0 for a result that is none.
func errnoOf(res int32) syscall.Errno {
	if res >= 0 || res <= iobatch.InDoubt {
		return 0
	}
	return syscall.Errno(-res)
}
