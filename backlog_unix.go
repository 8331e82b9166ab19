//go:build unix && !((linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd)

package netpoll

import (
	"os"
	"syscall"
)

// setBacklog changes the bound on new connections of a listening socket.
func setBacklog(fd uintptr, n int) error {
	return os.NewSyscallError("listen", syscall.Listen(int(fd), n))
}
