package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll"
)

// TestRequestThatHasBegunIsAnsweredAfterSIGTERM sends the signal to the test itself, while a handler works.
func TestRequestThatHasBegunIsAnsweredAfterSIGTERM(t *testing.T) {
	ln, err := netpoll.CreateListener("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	working, goOn := make(chan struct{}), make(chan struct{})
	slow := func(ctx context.Context, conn netpoll.Connection) error {
		if conn.Reader().Len() > 0 {
			close(working)
			<-goOn
		}
		return answer(ctx, conn)
	}
	var out bytes.Buffer
	ended := make(chan error, 1)
	go func() { ended <- serve(ln, slow, &out) }()

	conn, err := netpoll.DialConnection("tcp", ln.Addr().String(), patience)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetReadTimeout(patience))
	_, err = conn.Write([]byte("hello\n"))
	require.NoError(t, err)
	<-working
	self, err := os.FindProcess(os.Getpid())
	require.NoError(t, err)
	require.NoError(t, self.Signal(syscall.SIGTERM))
	for limit := time.Now().Add(patience); ; { // until the port is free
		other, err := netpoll.DialConnection("tcp", ln.Addr().String(), patience)
		if errors.Is(err, syscall.ECONNREFUSED) {
			break
		}
		if err == nil { // else it was in the backlog, and was reset
			other.Close()
		}
		require.True(t, time.Now().Before(limit), "it goes on listening")
	}
	close(goOn)
	line, err := conn.Reader().Until('\n')
	require.NoError(t, err)
	require.Equal(t, "hello\r\n", string(line))
	require.NoError(t, <-ended)
	require.True(t, strings.HasSuffix(out.String(), "\nstopping\nstopped\n"), "%q", out.String())
}
