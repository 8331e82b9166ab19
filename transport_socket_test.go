//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// What a connection asks of its socket.

import (
	"context"
	"io"
	"net"
	"testing"

	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/stretchr/testify/require"
)

func TestEchoRequestCostsOneReceiveAndOneSend(t *testing.T) {
	counts := make(chan *countingTransport, 1)
	addr := serveOn(t, echoAll, WithOnPrepare(func(conn Connection) context.Context {
		c := inner(conn)
		counting := &countingTransport{transport: c.transport}
		c.transport = counting
		counts <- counting
		return context.Background()
	}))
	conn, err := net.Dial("tcp", addr.String())
	require.NoError(t, err)
	defer conn.Close()
	buf := make([]byte, 1024)
	const requests = 200
	for range requests {
		_, err = conn.Write(buf)
		require.NoError(t, err)
		_, err = io.ReadFull(conn, buf)
		require.NoError(t, err)
	}
	counting := <-counts
	require.EqualValues(t, requests, counting.receives.Load())
	require.EqualValues(t, requests, counting.sends.Load())
	require.Zero(t, counting.rearms.Load(), "nothing to change at the poller while all goes well")
}

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
	for testkit.Receive(t, to.events, "room")&evWrite == 0 {
	}
}
