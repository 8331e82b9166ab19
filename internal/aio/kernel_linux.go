package aio

// This file holds the kernel's interface and nothing else: the numbers, the structures shared with the kernel, and
// the system calls behind a small table that tests replace to play a kernel that refuses or fails.

import (
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/cpu"
	"golang.org/x/sys/unix"
)

// Operation codes.
const (
	opRead  = 0
	opWrite = 1
)

// iocb is struct iocb. On every processor it has the layout of one of 64 bits.
type iocb struct {
	data   uint64
	words  [2]uint32 // the kernel's own word, and the flags: which is first depends on the byte order
	opcode uint16
	prio   int16
	fd     uint32
	buf    uint64
	size   uint64
	offset int64
	_      uint64
	flags  uint32
	_      uint32
}

// flagsAt is where in the words of an iocb the RWF flags are.
var flagsAt = map[bool]int{false: 1, true: 0}[cpu.IsBigEndian]

// event is struct io_event.
type event struct {
	data, obj uint64
	res, res2 int64
}

// header is struct aio_ring, which the address that io_setup returns points to. Events follow it.
type header struct {
	id           uint32
	nr           uint32 // how many events there is room for
	head         uint32 // written by this package, which takes events
	tail         uint32 // written by the kernel
	magic        uint32
	compat       uint32
	incompat     uint32
	headerLength uint32
}

// The values in the header of a ring that has the layout above.
const (
	headerMagic  = 0xa10a10a1
	headerLength = 32
)

// maxEvents is more than there can be: the limit of the whole machine, fs.aio-max-nr, is 65536 by default.
const maxEvents = 1 << 24

// The sizes are the kernel's; another size does not compile.
var (
	_ [64]byte           = [unsafe.Sizeof(iocb{})]byte{}
	_ [32]byte           = [unsafe.Sizeof(event{})]byte{}
	_ [headerLength]byte = [unsafe.Sizeof(header{})]byte{}
)

// kernelCalls are the system calls a ring makes.
type kernelCalls struct {
	setup     func(entries uint32) (id uintptr, errno unix.Errno)
	destroy   func(id uintptr) unix.Errno
	submit    func(id uintptr, list []uintptr) (taken int, errno unix.Errno)
	getEvents func(id uintptr, least int, events []event, patience *unix.Timespec) (n int, errno unix.Errno)
	mapped    func(address, length uintptr) bool
	mmap      func(length int) ([]byte, error)
	munmap    func([]byte) error
	noWait    func(fd int) error
}

// kernel is what new rings use. Only tests write it, before they make a ring.
var kernel = kernelCalls{
	setup: setup, destroy: destroy, submit: submit, getEvents: getEvents, mapped: mapped,
	mmap: mmap, munmap: unix.Munmap, noWait: noWait,
}

// setup is io_setup(2).
func setup(entries uint32) (id uintptr, errno unix.Errno) {
	_, _, errno = unix.Syscall(unix.SYS_IO_SETUP, uintptr(entries), uintptr(unsafe.Pointer(&id)), 0)
	return id, errno
}

// destroy is io_destroy(2). It waits for operations that are under way.
func destroy(id uintptr) unix.Errno {
	_, _, errno := unix.Syscall(unix.SYS_IO_DESTROY, id, 0, 0)
	return errno
}

// rawLimit is the number of operations up to which the scheduler need not know that a thread is in the kernel.
const rawLimit = 16

// submit is io_submit(2). A small batch is over before another goroutine could use the processor it holds; a long one
// tells the scheduler, so that a stop of the world need not wait for it.
func submit(id uintptr, list []uintptr) (int, unix.Errno) {
	call := unix.Syscall
	if len(list) <= rawLimit {
		call = unix.RawSyscall
	}
	n, _, errno := call(unix.SYS_IO_SUBMIT, id, uintptr(len(list)), uintptr(unsafe.Pointer(unsafe.SliceData(list))))
	return int(n), errno
}

// getEvents is io_getevents(2).
func getEvents(id uintptr, least int, events []event, patience *unix.Timespec) (int, unix.Errno) {
	n, _, errno := unix.Syscall6(unix.SYS_IO_GETEVENTS, id, uintptr(least), uintptr(len(events)),
		uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(unsafe.Pointer(patience)), 0)
	return int(n), errno
}

// mapped reports whether there is memory at address, so that looking at it does not end the process. mincore(2) fails
// if there is none.
func mapped(address, length uintptr) bool {
	page := uintptr(unix.Getpagesize())
	resident := make([]byte, (length+page-1)/page)
	_, _, errno := unix.Syscall(unix.SYS_MINCORE, address, length, uintptr(unsafe.Pointer(unsafe.SliceData(resident))))
	return errno == 0
}

// mmap returns memory that the garbage collector knows nothing of.
func mmap(length int) ([]byte, error) {
	return unix.Mmap(-1, 0, length, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
}

// noWait receives from the socket fd with RWF_NOWAIT: preadv2(2).
func noWait(fd int) error {
	_, err := unix.Preadv2(fd, [][]byte{{0}}, -1, unix.RWF_NOWAIT)
	return os.NewSyscallError("preadv2", err)
}

// quiet returns the flag of a send that is to raise no SIGPIPE, or 0 where the kernel does not know it. It is new in 6.18.
// Asking needs no ring.
var quiet = sync.OnceValue(func() uint32 {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	if n, err := unix.Pwritev2(pair[0], [][]byte{{0}}, -1, unix.RWF_NOSIGNAL); n != 1 || err != nil {
		return 0
	}
	return unix.RWF_NOSIGNAL
})
