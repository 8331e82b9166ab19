//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

import "testing"

// hastySink wants to send just after it was first asked what it wants, before there is a watch to tell: as a connection
// does that OnPrepare has handed to another goroutine, which fills the socket.
type hastySink struct {
	socket *socket
	asked  bool
	events chan pollEvent
}

func (s *hastySink) interest() pollEvent {
	if !s.asked {
		s.asked = true
		_ = s.socket.updateInterest()
		return evRead | evHup
	}
	return evRead | evHup | evWrite
}

func (s *hastySink) onPoll(ev pollEvent, _ *batch) {
	select {
	case s.events <- ev:
	default:
	}
}

func TestRoomAskedForWhileTheReportsBeginIsReported(t *testing.T) {
	a, _ := socketPair(t)
	s := &socket{sysfd: a}
	to := &hastySink{socket: s, events: make(chan pollEvent, 1)}
	if err := s.start(to); err != nil {
		t.Fatal(err)
	}
	defer s.stop(false)
	for await(t, to.events, "room")&evWrite == 0 {
	}
}
