//go:build !wasip1

package sock

import "syscall"

// ErrnoShutdown is the errno of a send after this side has ended sending, where that is not EPIPE.
const ErrnoShutdown = syscall.ESHUTDOWN
