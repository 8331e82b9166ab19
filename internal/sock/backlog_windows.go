package sock

import (
	"os"
	"syscall"
)

// SetBacklog limits the queue of new connections of a socket that is listening already.
func SetBacklog(fd uintptr, n int) error {
	return os.NewSyscallError("listen", syscall.Listen(syscall.Handle(fd), n))
}
