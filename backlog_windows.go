package netpoll

import (
	"os"
	"syscall"
)

// setBacklog changes the bound on new connections of a listening socket.
func setBacklog(fd uintptr, n int) error {
	return os.NewSyscallError("listen", syscall.Listen(syscall.Handle(fd), n))
}
