//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package test

// The options of a socket.

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// socketOption reads an integer option.
func socketOption(t *testing.T, fd, level, option int) int {
	t.Helper()
	if option == noOption {
		return 0
	}
	v, err := unix.GetsockoptInt(fd, level, option)
	require.NoError(t, err)
	return v
}

// noOption is an option that the system does not have.
const noOption = -1

// requireKeepAlive checks one of the keepalive times, on systems that have them for each socket.
func requireKeepAlive(t *testing.T, want, fd, option int) {
	t.Helper()
	if option != noOption {
		require.Equal(t, want, socketOption(t, fd, unix.IPPROTO_TCP, option))
	}
}

// requireCloseOnExec proves that fd does not reach child processes.
func requireCloseOnExec(t *testing.T, fd int) {
	t.Helper()
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	require.NoError(t, err)
	require.NotZero(t, flags&unix.FD_CLOEXEC, "not close-on-exec")
}
