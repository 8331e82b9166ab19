//go:build !wasip1

package sock

import "syscall"

// ErrnoShutdown is what sending gives after this side has ended it, where that is not EPIPE.
const ErrnoShutdown = syscall.ESHUTDOWN
