package netpoll

import (
	"os"
	"syscall"
)

// setBacklog changes the bound on newcomers of a listening socket.
func setBacklog(fd uintptr, n int) error {
	return os.NewSyscallError("listen", syscall.Listen(syscall.Handle(fd), n))
}
