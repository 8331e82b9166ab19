package netpoll

// This file holds what a PacketLoop does with one socket: the states of its receiving, and the calls of the handler. Where
// the events come from is in packet_source_reader.go for those of a program, which a goroutine receives from, and in
// packet_source_poller.go for connections, which a poller watches.

import (
	"context"
	"net"
	"runtime/debug"
	"syscall"

	"github.com/cloudwego/netpoll/internal/interleave/sync"
	"github.com/cloudwego/netpoll/internal/runner"
)

// packetState says who receives from a socket that is being served. These are all states and moves:
//
//	           input              input                       nothing left
//	idle ------------> receiving ------------> unwatched    receiving, unwatched ------------> idle
//
//	idle        no goroutine receives; the source reports input.
//	receiving   one goroutine receives and runs the handler, or a back-off runs; the source still reports input. It is
//	            the poller's at first, and one of the runner where the handler cannot run on the poller, or input goes on.
//	unwatched   the same, and input has been reported meanwhile. The source reports none, or it would again and again;
//	            the goroutine that receives makes it report again when it is done.
//
// Each move is one step under mu. The poller makes those to the right, the receiving goroutine those back. After a move
// between unwatched and another state the goroutine that made it tells the source, which then asks for the state that
// there is at that moment: see watch.updateInterest.
//
// Beside them there is ended, which end sets in any state, and which stays. The source reports nothing then. The receiving
// goroutine receives nothing more once it sees it, and moves to idle as ever. In idle and ended, done is closed: by end, or
// by that move.
type packetState uint8

const (
	packetsIdle packetState = iota
	packetsReceiving
	packetsUnwatched
)

func (s packetState) String() string {
	return [...]string{"idle", "receiving", "unwatched"}[s]
}

// packetSource reports input. Its methods may be called from any goroutine.
type packetSource interface {
	// open begins to report. It may be called after close, and then does nothing.
	open() error
	// updateInterest is called when the state has changed from or to unwatched.
	updateInterest()
	// close ends the reports, except for one that is on its way. It is idempotent.
	close()
}

// packetServer is one running Serve of a PacketLoop.
type packetServer struct {
	loop   *packetLoop
	conn   *UDPConn
	source packetSource
	onEnd  func() // called once, when it has ended; may be nil

	// mu guards the fields below. No other lock is taken under it.
	mu    sync.Mutex
	state packetState
	ended bool
	err   error // why it ended; read without mu after done

	done chan struct{} // closed when it has ended and no handler runs
	gone chan struct{} // closed when the socket is closed, too
}

var _ packetUser = (*packetServer)(nil)

func newPacketServer(l *packetLoop, c *UDPConn) *packetServer {
	s := &packetServer{loop: l, conn: c, done: make(chan struct{}), gone: make(chan struct{})}
	if l.watched {
		s.source = newPacketWatch(s)
	} else {
		s.source = newPacketReader(s)
	}
	return s
}

// run serves until the server has ended.
func (s *packetServer) run() {
	if err := s.source.open(); err != nil {
		s.end(err)
	}
	<-s.done
}

// closeSocket ends what run has done, and bind.
func (s *packetServer) closeSocket() {
	s.conn.unbind(s)
	s.conn.closeNow()
	s.loop.remove(s)
	close(s.gone)
}

// socketClosing implements packetUser.
func (s *packetServer) socketClosing() { s.end(s.conn.opError("read", net.ErrClosed)) }

// end ends the server; the first reason counts. Nothing more is received once it has returned, except for a batch that is
// being received at that moment.
func (s *packetServer) end(err error) {
	if !s.setEnded(err) {
		return
	}
	s.source.close()
	if s.onEnd != nil {
		s.onEnd()
	}
}

func (s *packetServer) setEnded(err error) (first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return false
	}
	s.ended, s.err = true, err
	if s.state == packetsIdle {
		close(s.done)
	}
	return true
}

func (s *packetServer) hasEnded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

// begin is called when input is reported. It returns true if the caller is to receive; finish must follow.
func (s *packetServer) begin() bool {
	switch s.report() {
	case packetsIdle:
		return true
	case packetsReceiving:
		s.source.updateInterest()
	}
	return false
}

// report makes the move that input causes and returns the state before. After the end, none is made.
func (s *packetServer) report() (was packetState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	was = s.state
	switch {
	case s.ended:
		return packetsUnwatched
	case was == packetsIdle:
		s.state = packetsReceiving
	case was == packetsReceiving:
		s.state = packetsUnwatched
	}
	return was
}

// finish ends receiving.
func (s *packetServer) finish() {
	if s.toIdle() == packetsUnwatched {
		s.source.updateInterest()
	}
}

// toIdle makes the move back and returns the state before.
func (s *packetServer) toIdle() (was packetState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	was, s.state = s.state, packetsIdle
	if s.ended {
		close(s.done)
	}
	return was
}

// handle gives packets to the handler.
func (s *packetServer) handle(packets []Packet) {
	s.conn.counts.addReceived(packets)
	if s.loop.guarded {
		_ = s.loop.on(context.Background(), s.conn, packets)
		return
	}
	runner.Guard(func() { _ = s.loop.on(context.Background(), s.conn, packets) }, s.handlerFailed)
}

func (s *packetServer) handlerFailed(value any) {
	if value == runner.ErrGoexit {
		logger().Printf("netpoll: OnPacket of %v %v\n%s", s.conn.LocalAddr(), value, debug.Stack())
		return
	}
	logger().Printf("netpoll: panic in OnPacket of %v: %v\n%s", s.conn.LocalAddr(), value, debug.Stack())
}

// survives reports whether receiving may go on at once after err. If not, it has ended the server if waiting would not
// help.
func (s *packetServer) survives(err error) bool {
	switch asErrno(err) {
	case 0, syscall.EBADF, syscall.ENOTSOCK, syscall.EINVAL, syscall.EFAULT, syscall.ENOTCONN, syscall.EOPNOTSUPP:
		s.end(err)
		return false
	case syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.EMSGSIZE,
		syscall.EPROTO, syscall.ENOPROTOOPT, syscall.EACCES, syscall.EPERM, syscall.EINTR:
		return true // a report on a datagram that was sent
	}
	return false
}
