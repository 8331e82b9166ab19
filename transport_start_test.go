//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

import "testing"

// hasty wants to send just after it was first asked what it wants, before there is a watch to tell: as a connection
// does that OnPrepare has handed to another goroutine, which fills the socket.
type hasty struct {
	upperLayer
	socket *socket
	asked  bool
	events chan pollEvent
}

func (s *hasty) interest() pollEvent {
	if !s.asked {
		s.asked = true
		_ = s.socket.updateInterest()
		return evRead | evHup
	}
	return evRead | evHup | evWrite
}

func (s *hasty) begin(ev pollEvent) bool {
	select {
	case s.events <- ev:
	default:
	}
	return false
}

func TestRoomAskedForWhileTheReportsBeginIsReported(t *testing.T) {
	a, _ := socketPair(t)
	s := &socket{sysfd: a}
	to := &hasty{socket: s, events: make(chan pollEvent, 1)}
	s.up = to
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	defer s.stop(false)
	for await(t, to.events, "room")&evWrite == 0 {
	}
}
