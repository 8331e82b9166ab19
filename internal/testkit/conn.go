package testkit

// This file holds connections of package net, and checks of any connection.

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// OverNetworks runs f with network "tcp" and with "unix".
func OverNetworks(t *testing.T, f func(t *testing.T, network string)) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) { f(t, network) })
	}
}

// LocalAddress returns an address on this machine for a new listener.
func LocalAddress(t testing.TB, network string) string {
	if network == "unix" {
		return filepath.Join(t.TempDir(), "s")
	}
	return "127.0.0.1:0"
}

// Listen returns a listener of package net on a fresh address. It is closed when the test ends.
func Listen(t testing.TB, network string) net.Listener {
	t.Helper()
	ln, err := net.Listen(network, LocalAddress(t, network))
	require.NoError(t, err)
	t.Cleanup(func() { ln.Close() })
	return ln
}

// Dial connects to a listener with package net. The connection is closed when the test ends.
func Dial(t testing.TB, addr net.Addr) net.Conn {
	t.Helper()
	conn, err := net.Dial(addr.Network(), addr.String())
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn
}

// Send writes p to peer, which must have room for it.
func Send(t testing.TB, peer net.Conn, p string) {
	t.Helper()
	require.NoError(t, peer.SetWriteDeadline(time.Now().Add(Timeout)))
	_, err := peer.Write([]byte(p))
	require.NoError(t, err)
}

// Expect reads len(want) bytes and requires that they are want.
func Expect(t testing.TB, r io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	_, err := io.ReadFull(r, got)
	require.NoError(t, err)
	if !bytes.Equal(got, []byte(want)) { // require.Equal would print all bytes
		t.Fatalf("got %.80q…, want %.80q…", got, want)
	}
}

// ExpectEnd reads to the end of the stream and requires that it has read want. If r is a connection, it sets a deadline.
func ExpectEnd(t testing.TB, r io.Reader, want string) {
	t.Helper()
	if conn, ok := r.(net.Conn); ok {
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(Timeout)))
	}
	Expect(t, r, want)
	rest, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Empty(t, rest)
}

// ExpectEcho sends text and requires the same text back before a deadline.
func ExpectEcho(t testing.TB, conn net.Conn, text string) {
	t.Helper()
	require.NoError(t, conn.SetDeadline(time.Now().Add(Timeout)))
	require.NoError(t, RoundTrip(conn, text))
}

// RoundTrip sends msg and returns an error unless it receives msg.
func RoundTrip(c net.Conn, msg string) error {
	if _, err := c.Write([]byte(msg)); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	buf := make([]byte, len(msg))
	if _, err := io.ReadFull(c, buf); err != nil {
		return fmt.Errorf("receive the echo: %w", err)
	}
	if string(buf) != msg {
		return fmt.Errorf("sent %q, received %q", msg, buf)
	}
	return nil
}

// Reset closes a TCP connection of package net so that the peer receives RST.
func Reset(t testing.TB, c net.Conn) {
	t.Helper()
	require.NoError(t, c.(*net.TCPConn).SetLinger(0))
	require.NoError(t, c.Close())
}

// IsReset reports whether err is the error of a write to a connection that its peer has reset.
func IsReset(err error) bool {
	var errno syscall.Errno
	return errors.As(err, &errno) && (errno == syscall.ECONNRESET || errno == syscall.EPIPE)
}
