package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll"
)

const patience = 20 * time.Second

// TestRunPassesLinesOn runs the program and checks its output.
func TestRunPassesLinesOn(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out))
	require.Equal(t, `"hello" arrives as "hello\n"
"hello to you" arrives as "hello to you\n"
`, out.String())
}

// TestMemberThatDoesNotReadHoldsUpNobody sends far more than the kernel and the room keep for a member. Another one gets
// all of it, and the one that does not read is turned out.
func TestMemberThatDoesNotReadHoldsUpNobody(t *testing.T) {
	r := newRoom()
	loop, err := netpoll.NewEventLoop(r.onRequest, netpoll.WithOnConnect(r.join))
	require.NoError(t, err)
	ln, err := netpoll.CreateListener("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- loop.Serve(ln) }()
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		require.NoError(t, loop.Shutdown(ctx))
		require.NoError(t, <-served)
	}()

	silent, err := net.Dial("tcp", ln.Addr().String())
	require.NoError(t, err)
	defer silent.Close()
	_, err = io.ReadFull(silent, make([]byte, len("welcome\n"))) // and nothing more
	require.NoError(t, err)
	speaker, err := enter(ln.Addr().String())
	require.NoError(t, err)
	defer speaker.Close()
	listener, err := enter(ln.Addr().String())
	require.NoError(t, err)
	defer listener.Close()
	require.NoError(t, listener.SetReadTimeout(patience))

	line := strings.Repeat("x", 4<<10-1) + "\n"
	members := func() int {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.members)
	}
	for limit := time.Now().Add(patience); members() == 3; { // until one has been turned out
		require.True(t, time.Now().Before(limit), "nobody was turned out")
		for range 100 {
			_, err := speaker.Write([]byte(line))
			require.NoError(t, err)
		}
		for range 100 {
			got, err := listener.Reader().Next(len(line))
			require.NoError(t, err)
			require.Equal(t, line, string(got))
		}
		require.NoError(t, listener.Reader().Release())
	}
	require.Equal(t, 2, members())
	require.True(t, listener.IsActive() && speaker.IsActive())
}
