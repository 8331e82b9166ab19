//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// What a connection asks of its socket.

import (
	"context"
	"io"
	"net"
	"testing"

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
