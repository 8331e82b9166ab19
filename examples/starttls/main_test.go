package main

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/examples/internal/cert"
)

// TestRunChangesToTLS runs the program and checks its output.
func TestRunChangesToTLS(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out))
	require.Equal(t, `HELLO: hello, anybody can read this
STARTTLS: go ahead
HELLO: hello over TLS 1.3
STARTTLS: what?
`, out.String())
}

// TestPlainTextBehindSTARTTLSIsNoRequest plays somebody between client and server who adds a request to the STARTTLS: it
// must not be answered as if it came over TLS.
func TestPlainTextBehindSTARTTLSIsNoRequest(t *testing.T) {
	config, _, err := cert.New()
	require.NoError(t, err)
	require.NoError(t, netpoll.Configure(netpoll.Config{LoggerOutput: io.Discard})) // the handshake fails
	loop, err := newServer(config)
	require.NoError(t, err)
	ln, err := netpoll.CreateListener("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- loop.Serve(ln) }()

	conn, err := net.Dial("tcp", ln.Addr().String())
	require.NoError(t, err)
	require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	_, err = io.WriteString(conn, "STARTTLS\nHELLO\n")
	require.NoError(t, err)
	answers, err := io.ReadAll(conn)
	require.NoError(t, err)
	require.True(t, bytes.HasPrefix(answers, []byte("go ahead\n")), "%q", answers)
	require.NotContains(t, string(answers), "hello")
	require.NoError(t, conn.Close())
	require.NoError(t, loop.Shutdown(t.Context()))
	require.NoError(t, <-served)
}
