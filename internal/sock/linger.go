//go:build unix

package sock

// This file holds what SO_LINGER does to the close of a socket, and to the goroutine that closes it.

import "golang.org/x/sys/unix"

// EndLinger lets the coming close of fd return at once. If somebody has set SO_LINGER with a time, close would wait for
// as long in the kernel, and with it all that its goroutine does for others. Without the option the kernel sends the
// rest by itself, which it does after that time anyway. A time of 0 asks for a reset; that stays.
func EndLinger(fd int) {
	l, err := unix.GetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER)
	if err != nil || l.Onoff == 0 || l.Linger == 0 { // no socket, say
		return
	}
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{})
}

// ResetOnClose makes the coming close of fd a reset for the peer. A Unix socket has none of its own.
func ResetOnClose(fd int) {
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
}
