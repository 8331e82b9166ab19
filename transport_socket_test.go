//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// What a connection asks of its socket.

import (
	"context"
	"io"
	"net"
	"sync/atomic"
	"testing"

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
