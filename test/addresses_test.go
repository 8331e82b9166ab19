//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package test

// Addresses that do not answer as a server does: one that refuses, one that never answers.

import (
	"errors"
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// refusedAddress returns a TCP address that refuses connections for as long as the test runs: the port belongs to a
// socket that does not listen, so no other socket can get it.
func refusedAddress(t testing.TB) string {
	t.Helper()
	_, address := boundSocket(t)
	return address
}

// silentAddress returns a TCP address that does not answer a connect, because the backlog behind it is full.
func silentAddress(t testing.TB) string {
	t.Helper()
	fd, address := boundSocket(t)
	require.NoError(t, syscall.Listen(fd, 0))
	for range 64 {
		c, err := net.DialTimeout("tcp", address, 100*time.Millisecond)
		var ne net.Error
		if errors.As(err, &ne) && ne.Timeout() {
			return address
		}
		require.NoError(t, err)
		t.Cleanup(func() { c.Close() })
	}
	t.Fatal("the backlog does not fill")
	return ""
}

// boundSocket returns a TCP socket with an address of its own.
func boundSocket(t testing.TB) (fd int, address string) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = syscall.Close(fd) })
	require.NoError(t, syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	sa, err := syscall.Getsockname(fd)
	require.NoError(t, err)
	return fd, fmt.Sprintf("127.0.0.1:%d", sa.(*syscall.SockaddrInet4).Port)
}
