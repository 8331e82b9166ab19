//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

import (
	"context"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

// hookedInput is an upper layer that runs a function before each receive.
type hookedInput struct {
	upperLayer
	onRoom func()
}

func (h *hookedInput) room(most int) []byte {
	h.onRoom()
	return h.upperLayer.room(most)
}

// inner returns the connection behind its public value.
func inner(c Connection) *connection {
	return connectionOfValue(c)
}

// echoAll answers with everything there is.
func echoAll(_ context.Context, c Connection) error {
	r, w := c.Reader(), c.Writer()
	p, err := r.Next(r.Len())
	if err != nil {
		return err
	}
	if _, err = w.WriteBinary(p); err != nil {
		return err
	}
	if err = w.Flush(); err != nil {
		return err
	}
	return r.Release()
}

// serveOn runs an EventLoop on a loopback listener until the test ends, and returns its address.
func serveOn(t testing.TB, on OnRequest, ops ...Option) net.Addr {
	t.Helper()
	ln, err := CreateListener("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	loop, err := NewEventLoop(on, ops...)
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- loop.Serve(ln) }()
	t.Cleanup(func() {
		require.NoError(t, loop.Shutdown(context.Background()))
		require.NoError(t, <-served)
	})
	return ln.Addr()
}
