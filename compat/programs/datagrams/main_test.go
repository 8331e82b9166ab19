package datagrams

// What all tests share: waiting, bytes that show when they are misplaced, sockets of both libraries, and the proof that
// the tests leave no goroutines behind.

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// patience is how long a test waits for an event before it fails.
const patience = 30 * time.Second

func TestMain(m *testing.M) {
	_ = os.Setenv("QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING", "true")
	goleak.VerifyTestMain(m)
}

// sides says which sides of a program are on the library; the other is on package net.
type sides struct{ server, client bool }

// overSides runs test with the library on either side, on both, and on none.
func overSides(t *testing.T, test func(t *testing.T, on sides)) {
	for _, on := range []struct {
		name string
		sides
	}{{"server", sides{true, false}}, {"client", sides{false, true}}, {"both", sides{true, true}}, {"net", sides{}}} {
		t.Run(on.name, func(t *testing.T) { test(t, on.sides) })
	}
}

// socket makes a socket, of the library or of package net, for the time of the test.
func socket(t testing.TB, ours bool, address string) net.PacketConn {
	t.Helper()
	listen := net.ListenPacket
	if ours {
		listen = func(network, address string) (net.PacketConn, error) { return netpoll.ListenPacket(network, address) }
	}
	conn, err := listen("udp", address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// serve serves a socket by a loop of the library until the end of the test.
func serve(t testing.TB, loop netpoll.PacketLoop, conn net.PacketConn) {
	t.Helper()
	served := make(chan error, 1)
	go func() { served <- loop.Serve(conn) }()
	t.Cleanup(func() {
		require.NoError(t, loop.Shutdown(timeLimit(t)))
		require.NoError(t, await(t, served, "the end of Serve"))
	})
}

// await returns the value of event, or ends t if event neither delivers nor is closed in time.
func await[T any](t testing.TB, event <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-event:
	case <-time.After(patience):
		t.Fatal("no sign of " + what)
	}
	return v
}

// timeLimit returns a context that limits what is called with it.
func timeLimit(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// pattern reads as n bytes with a period of 251, so that a shift or an exchange shows. Patterns of different seeds differ
// in every byte.
func pattern(seed, n int) io.Reader { return io.LimitReader(&period{seed}, int64(n)) }

type period struct{ at int }

func (p *period) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(p.at % 251)
		p.at++
	}
	return len(b), nil
}

// digestOf describes everything that r has.
func digestOf(r io.Reader) (string, error) {
	h := sha256.New()
	n, err := io.Copy(h, r)
	return fmt.Sprintf("%d bytes, %s", n, hex.EncodeToString(h.Sum(nil)[:8])), err
}
