//go:build faults

package netpoll

// This file holds the seam for faults as tests use it, with the build tag "faults": a hook decides what becomes of each
// system call. Without a hook all is as it is without the tag.

import (
	"sync/atomic"
	"syscall"
)

// faultHook is asked before each call of op, on the goroutine that makes it, which may hold locks. size is how many
// bytes it would move, or how many operations a ring has to do; 0 for what moves nothing. An errno other than 0 fails
// the call, without making it unless it is opCloseFd or opShutdown; one that says that the connection is gone ends it
// too. A limit below size makes the call move no more than that; size leaves it alone. A hook may take its time, but
// must not use the connection.
type faultHook func(op sysOp, size int) (limit int, errno syscall.Errno)

// faultsNow is the hook in force; stored by setFaults.
var faultsNow atomic.Pointer[faultHook]

// setFaults makes h decide from now on; nil lets every call be made. Calls that have begun may still come from the hook
// before.
func setFaults(h faultHook) {
	if h == nil {
		faultsNow.Store(nil)
		return
	}
	faultsNow.Store(&h)
}

// fault returns the error with which the next call of op is to fail, or 0.
func fault(op sysOp) syscall.Errno {
	_, errno := faultOf(op, 0)
	return errno
}

// faultOf returns how much of size the next call of op may move, and how it is to fail. It never makes a transfer
// empty: that would mean something else.
func faultOf(op sysOp, size int) (limit int, errno syscall.Errno) {
	h := faultsNow.Load()
	if h == nil {
		return size, 0
	}
	limit, errno = (*h)(op, size)
	return min(max(limit, 1), size), errno
}

// String names the call.
func (op sysOp) String() string {
	names := [sysOps]string{
		opRecv: "recv", opSend: "send", opSendv: "sendv", opAccept: "accept", opSocket: "socket",
		opConnect: "connect", opEpollCreate: "epoll_create", opEpollCtlAdd: "epoll_ctl_add",
		opEpollCtlMod: "epoll_ctl_mod", opEpollWait: "epoll_wait", opRing: "ring", opRingSetup: "ring_setup",
		opSetsockopt: "setsockopt", opShutdown: "shutdown", opDup: "dup", opCloseFd: "close", opListen: "listen",
		opNonblock: "nonblock", opStat: "stat", opTimer: "timer",
		opPipe: "pipe", opSpliceIn: "splice_in", opSpliceOut: "splice_out", opSendfile: "sendfile",
	}
	return names[op]
}
