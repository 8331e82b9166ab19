//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

import (
	"context"
	"net"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// countingTransport counts the calls that go through the seam to the transport below.
type countingTransport struct {
	transport
	receives, sends, rearms atomic.Int64
}

func (t *countingTransport) receive(in *LinkBuffer, size int) (int, bool, error) {
	t.receives.Add(1)
	return t.transport.receive(in, size)
}

func (t *countingTransport) send(v *vector) (int, error) {
	t.sends.Add(1)
	return t.transport.send(v)
}

func (t *countingTransport) updateInterest() error {
	t.rearms.Add(1)
	return t.transport.updateInterest()
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
