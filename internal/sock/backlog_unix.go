//go:build unix

package sock

import (
	"os"
	"syscall"

	"github.com/cloudwego/netpoll/internal/fault"
)

// SetBacklog limits the queue of new connections of a socket that is listening already.
func SetBacklog(fd uintptr, n int) error {
	if errno := fault.Check(fault.Listen); errno != 0 {
		return os.NewSyscallError("listen", errno)
	}
	return os.NewSyscallError("listen", syscall.Listen(int(fd), n))
}
