//go:build unix

package sock

// This file holds the effects of SO_LINGER on the close of a socket.

import "golang.org/x/sys/unix"

// EndLinger lets the coming close of fd return at once. If the program has set SO_LINGER with a time, close would wait
// that long in the kernel, and so would all other work of the closing goroutine. Without the option the kernel sends
// the rest by itself, which it does after that time anyway. A time of 0 asks for a reset; EndLinger leaves it.
func EndLinger(fd int) {
	l, err := unix.GetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER)
	if err != nil || l.Onoff == 0 || l.Linger == 0 { // for example no socket
		return
	}
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{})
}

// ResetOnClose makes the coming close of fd a reset for the peer. A Unix socket has no reset.
func ResetOnClose(fd int) {
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
}
