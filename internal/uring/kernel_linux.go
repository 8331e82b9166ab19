package uring

// This file holds the kernel's interface and nothing else: the numbers, the structures shared with the kernel, and
// the system calls behind a small table that tests replace to play a kernel that refuses or fails.

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Flags of io_uring_setup. Flags that tie a ring to one thread (SINGLE_ISSUER, DEFER_TASKRUN) are of no use here:
// the holder of the ring's lock enters, on whatever thread. NO_SQARRAY was measured, and made no difference.
const (
	setupClamp     = 1 << 4 // more entries than the kernel allows are reduced, not refused
	setupSubmitAll = 1 << 7 // an operation that is refused does not end the batch; since 5.18
)

// featSingleMmap says that both rings are in one mapping; since 5.4.
const featSingleMmap = 1 << 0

// enterGetEvents makes io_uring_enter deliver work that it holds back: completions that did not fit, and task work.
const enterGetEvents = 1 << 0

// Operation codes.
const (
	opAsyncCancel = 14
	opSend        = 26
	opRecv        = 27
)

// Offsets to map the parts of a ring at.
const (
	offSQRing = 0
	offCQRing = 0x8000000
	offSQEs   = 0x10000000
)

// sqe is the part of struct io_uring_sqe that sockets need.
type sqe struct {
	opcode   uint8
	flags    uint8
	ioprio   uint16
	fd       int32
	off      uint64
	addr     uint64
	length   uint32
	msgFlags uint32
	userData uint64
	_        [3]uint64
}

// cqe is struct io_uring_cqe.
type cqe struct {
	userData uint64
	res      int32
	flags    uint32
}

// params is struct io_uring_params.
type params struct {
	sqEntries    uint32
	cqEntries    uint32
	flags        uint32
	sqThreadCPU  uint32
	sqThreadIdle uint32
	features     uint32
	wqFD         uint32
	_            [3]uint32
	sq           sqOffsets
	cq           cqOffsets
}

// sqOffsets is struct io_sqring_offsets: where in the mapping the words of the submission queue are.
type sqOffsets struct {
	head, tail, mask, entries, flags, dropped, array, _ uint32
	userAddr                                            uint64
}

// cqOffsets is struct io_cqring_offsets: where those of the completion queue are.
type cqOffsets struct {
	head, tail, mask, entries, overflow, cqes, flags, _ uint32
	userAddr                                            uint64
}

// The sizes are the kernel's; another size does not compile.
var (
	_ [64]byte  = [unsafe.Sizeof(sqe{})]byte{}
	_ [16]byte  = [unsafe.Sizeof(cqe{})]byte{}
	_ [120]byte = [unsafe.Sizeof(params{})]byte{}
)

// kernelCalls are the system calls a ring makes.
type kernelCalls struct {
	setup  func(entries uint32, p *params) (fd int, errno unix.Errno)
	enter  func(fd int, submit, flags uint32) (submitted int, errno unix.Errno)
	mmap   func(fd int, offset int64, length, prot, flags int) ([]byte, error)
	munmap func([]byte) error
}

// kernel has the system calls of new rings. Only tests write it, before they make a ring.
var kernel = kernelCalls{setup: setup, enter: enter, mmap: unix.Mmap, munmap: unix.Munmap}

// setup is io_uring_setup(2).
func setup(entries uint32, p *params) (int, unix.Errno) {
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, uintptr(entries), uintptr(unsafe.Pointer(p)), 0)
	return int(fd), errno
}

// rawLimit is the number of operations up to which the scheduler need not know that a thread is in the kernel.
const rawLimit = 16

// enter is io_uring_enter(2); it never waits for a completion. A small batch is over before another goroutine could use
// the processor it holds; a long one tells the scheduler, so that a stop of the world need not wait for it.
func enter(fd int, submit, flags uint32) (int, unix.Errno) {
	call := unix.Syscall6
	if submit <= rawLimit {
		call = unix.RawSyscall6
	}
	n, _, errno := call(unix.SYS_IO_URING_ENTER, uintptr(fd), uintptr(submit), 0, uintptr(flags), 0, 0)
	return int(n), errno
}
