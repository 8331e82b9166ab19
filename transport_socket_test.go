//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// How a connection uses its socket.

import (
	"context"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/stretchr/testify/require"
)

func TestEchoRequestCostsOneReceiveAndOneSend(t *testing.T) {
	var receives, sends, updates atomic.Int64
	addr := serveOn(t, echoAll, WithOnPrepare(func(conn Connection) context.Context {
		c := inner(conn)
		below := c.transport
		c.common.up = &hookedInput{c, func() { receives.Add(1) }}
		c.transport = &fakeTransport{below: below, onUpdate: func() { updates.Add(1) },
			onSend: func(v *vector) (int, error) { sends.Add(1); return below.send(v, 0) }}
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
	require.EqualValues(t, requests, receives.Load())
	require.EqualValues(t, requests, sends.Load())
	require.Zero(t, updates.Load(), "nothing to change at the poller while all goes well")
}

// hasty wants to send just after the first call of interest, before there is a watch to update: as a connection does
// that OnPrepare has handed to another goroutine, which fills the socket.
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
	for testkit.Receive(t, to.events, "room")&evWrite == 0 {
	}
}
