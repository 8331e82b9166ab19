package programs

// Programs that take any net.Conn or net.Listener are run twice: on package net, as the control, and on the library.

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// soon is how long a few bytes may take from one socket of this machine to another. It is shorter than patience, for the
// case that many tests fail because these bytes do not arrive.
const soon = 5 * time.Second

// againstNet runs test on package net and on the library.
func againstNet(t *testing.T, test func(t *testing.T, on sides)) {
	for _, on := range []sides{{name: "net"}, {name: "netpoll", server: true, client: true}} {
		t.Run(on.name, func(t *testing.T) { test(t, on) })
	}
}

// overBothEnds runs test with a connection that was dialed and with one that was accepted. The peer is of package net
// in either case, and both have a deadline.
func overBothEnds(t *testing.T, on sides, test func(t *testing.T, conn net.Conn, peer *net.TCPConn)) {
	t.Run("dialed", func(t *testing.T) {
		t.Parallel()
		conn, peer := sides{client: on.client}.connect(t)
		test(t, conn, peer.(*net.TCPConn))
	})
	t.Run("accepted", func(t *testing.T) {
		t.Parallel()
		peer, conn := sides{server: on.server}.connect(t)
		test(t, conn, peer.(*net.TCPConn))
	})
}

// connect returns the two ends of a connection. Their deadlines limit all that the test does with them.
func (on sides) connect(t *testing.T) (dialed, accepted net.Conn) {
	t.Helper()
	ln := on.listen(t)
	dialed, err := on.dial(timeLimit(t), "tcp", ln.Addr().String())
	require.NoError(t, err)
	accepted, err = ln.Accept()
	require.NoError(t, err)
	for _, conn := range []net.Conn{dialed, accepted} {
		t.Cleanup(func() { _ = conn.Close() })
		require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	}
	return dialed, accepted
}

// listen listens on a free loopback port until the test ends.
func (on sides) listen(t *testing.T) net.Listener {
	t.Helper()
	ln := on.listenOn(t, "127.0.0.1:0")
	t.Cleanup(func() { _ = ln.Close() })
	return ln
}

// dialBounded dials and sets a deadline that limits all use of the connection.
func (on sides) dialBounded(ctx context.Context, address string) (net.Conn, error) {
	conn, err := on.dial(ctx, "tcp", address)
	if err == nil {
		err = conn.SetDeadline(time.Now().Add(patience))
	}
	return conn, err
}

// serveEach accepts until the test ends and calls serve with each connection. It sets a deadline first, and closes the
// connection when serve has returned. The end of the test waits for all calls of serve.
func (on sides) serveEach(t *testing.T, serve func(conn net.Conn)) (address string) {
	t.Helper()
	ln := on.listen(t)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return // the listener is closed
			}
			running.Go(func() {
				defer conn.Close()
				if conn.SetDeadline(time.Now().Add(patience)) == nil {
					serve(conn)
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		running.Wait()
	})
	return ln.Addr().String()
}
