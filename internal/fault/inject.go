//go:build faults

package fault

// This file holds faults as tests use them: a hook decides the result of each system call. Without a hook the package
// does nothing, as without the build tag.

import (
	"sync/atomic"
	"syscall"
)

// Enabled reports whether calls can be made to fail.
const Enabled = true

// Hook is asked before each call of op, on the goroutine that makes it, which may hold locks. size is how many bytes
// the call would move, or how many operations a ring has to do; 0 if it moves nothing. An errno other than 0 fails the
// call, without making it unless it is Close or Shutdown; an errno that says that the connection is gone ends the
// connection, too. A limit below size makes the call move no more than that; size is no limit. A hook may take long,
// but must not use the connection.
type Hook func(op Op, size int) (limit int, errno syscall.Errno)

// current is the hook in force; stored by SetHook.
var current atomic.Pointer[Hook]

// SetHook makes h decide from now on; nil lets every call be made. Calls that have begun may still get their result
// from the hook before.
func SetHook(h Hook) {
	if h == nil {
		current.Store(nil)
		return
	}
	current.Store(&h)
}

// Check returns the error with which the next call of op is to fail, or 0.
func Check(op Op) syscall.Errno {
	_, errno := ask(op, 0)
	return errno
}

// ask returns how much of size the next call of op may move, and how it is to fail. It never makes a transfer empty:
// that would mean the end of the stream.
func ask(op Op, size int) (limit int, errno syscall.Errno) {
	h := current.Load()
	if h == nil {
		return size, 0
	}
	limit, errno = (*h)(op, size)
	return min(max(limit, 1), size), errno
}

// String names the call.
func (op Op) String() string {
	names := [ops]string{
		Recv: "recv", Send: "send", Sendv: "sendv", Accept: "accept", Socket: "socket",
		Connect: "connect", EpollCreate: "epoll_create", EpollCtlAdd: "epoll_ctl_add",
		EpollCtlMod: "epoll_ctl_mod", EpollWait: "epoll_wait", Ring: "ring", RingSetup: "ring_setup",
		Setsockopt: "setsockopt", Shutdown: "shutdown", Dup: "dup", Close: "close", Listen: "listen",
		Nonblock: "nonblock", Stat: "stat", Timer: "timer",
		Pipe: "pipe", SpliceIn: "splice_in", SpliceOut: "splice_out", Sendfile: "sendfile",
		RecvPackets: "recv_packets", SendPackets: "send_packets",
	}
	return names[op]
}
