package main

import (
	"bytes"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll"
)

const patience = 20 * time.Second

// TestRunEndsTheWorkOfAClientThatIsGone runs the program and checks its output.
func TestRunEndsTheWorkOfAClientThatIsGone(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out))
	require.Equal(t, `event: 1
event: 2
event: 3
the work ended, because the client is gone: true
`, out.String())
}

// TestShutdownEndsTheWork shows that the context also ends when the server does.
func TestShutdownEndsTheWork(t *testing.T) {
	ended := make(chan error, 1)
	loop, err := newServer(func(reason error) { ended <- reason })
	require.NoError(t, err)
	ln, err := netpoll.CreateListener("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- loop.Serve(ln) }()
	conn, err := net.Dial("tcp", ln.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	_, err = conn.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
	require.NoError(t, err)
	_, err = conn.Read(make([]byte, 1)) // the work has begun
	require.NoError(t, err)
	require.NoError(t, loop.Shutdown(t.Context()))
	require.ErrorIs(t, <-ended, netpoll.ErrConnClosed)
	require.NoError(t, <-served)
}
