package aio

// This file holds the ring and its life: how it is made from the kernel's parts, and how it is closed.

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"github.com/cloudwego/netpoll/internal/iobatch"
	"golang.org/x/sys/unix"
)

// A Ring executes batches of socket operations; the kernel calls it a context. It belongs to one user at a time:
// callers that share one hold a lock of their own around everything from the first operation queued to the return of
// Submit. Which thread calls does not matter.
type Ring struct {
	sys kernelCalls
	id  uintptr // the kernel's name for it, and the address of its header; 0 when closed

	mem      []byte    // the mapping that the next two are in: the kernel reads them while it is in io_submit
	iocbs    []iocb    // of the operations queued, in their order
	pointers []uintptr // to each iocb; written once

	header *header // shared; nil where its layout is not the known one, and events are fetched by io_getevents
	events []event // shared: the events that follow the header
	head   uint32  // of the events: the next to take

	fetched  []event       // where io_getevents puts events
	patience unix.Timespec // for how long it waits: not at all, unless operations are late

	sendFlags uint32 // RWF flags of a send

	batch iobatch.Queue // the operations queued, in the order of their entries

	kept bool  // the kernel has not given back an operation
	err  error // why the ring can no longer be used, nil while it can
}

// New makes a ring that takes a batch of entries operations. The error wraps the errno: ENOSYS where the kernel has no
// AIO, EPERM where it is forbidden, EAGAIN where the limit of the machine, fs.aio-max-nr, is used up.
func New(entries uint32) (_ *Ring, err error) {
	if entries == 0 || entries > maxEvents { // no size for a mapping
		return nil, os.NewSyscallError("io_setup", unix.EINVAL)
	}
	sys := kernel
	id, errno := sys.setup(entries)
	if errno != 0 {
		return nil, os.NewSyscallError("io_setup", errno)
	}
	r := &Ring{sys: sys, id: id}
	const pointer = int(unsafe.Sizeof(uintptr(0)))
	n := int(entries)
	if r.mem, err = r.sys.mmap(n * (int(unsafe.Sizeof(iocb{})) + pointer)); err != nil {
		return nil, errors.Join(os.NewSyscallError("mmap for aio", err), r.Close())
	}
	r.iocbs = unsafe.Slice((*iocb)(unsafe.Pointer(&r.mem[0])), n)
	r.pointers = unsafe.Slice((*uintptr)(unsafe.Pointer(&r.mem[n*int(unsafe.Sizeof(iocb{}))])), n)
	for i := range r.iocbs {
		r.pointers[i] = uintptr(unsafe.Pointer(&r.iocbs[i]))
	}
	r.header, r.events = r.eventsInMemory()
	r.sendFlags = unix.RWF_NOWAIT | quiet()
	r.fetched = make([]event, n)
	r.batch = iobatch.NewQueue(n)
	return r, nil
}

// eventsInMemory returns the ring of events that is mapped where the kernel's name for it points to, or nil if its
// layout differs from the known one in any respect. The kernel fills whole pages with a header and events.
func (r *Ring) eventsInMemory() (*header, []event) {
	page := uintptr(unix.Getpagesize())
	if r.id%page != 0 || !r.sys.mapped(r.id, page) {
		return nil, nil
	}
	// The name is the address: this makes a pointer of it.
	h := *(**header)(unsafe.Pointer(&r.id))
	length := headerLength + uintptr(h.nr)*unsafe.Sizeof(event{})
	if h.magic != headerMagic || h.incompat != 0 || h.headerLength != headerLength || h.nr == 0 || h.nr > maxEvents ||
		length%page != 0 || !r.sys.mapped(r.id, length) || h.head != 0 || h.tail != 0 {
		return nil, nil
	}
	return h, unsafe.Slice((*event)(unsafe.Add(unsafe.Pointer(h), headerLength)), h.nr)
}

// Cap returns how many operations fit into one batch.
func (r *Ring) Cap() int { return len(r.iocbs) }

// Len returns how many operations are queued for the next Submit.
func (r *Ring) Len() int { return r.batch.Len() }

// Close frees the ring. Operations still queued will not be executed; a Submit after Close reports them so. Closing
// again does nothing. Close must not be called while Submit runs. It does not wait: the kernel gives back the mapping
// and the share of fs.aio-max-nr at once, but io_destroy returns tens of milliseconds later, so a goroutine makes that
// call. A ring whose kernel keeps an operation is left to the end of the process: io_destroy would wait for the
// operation.
func (r *Ring) Close() error {
	if r.id == 0 {
		return nil
	}
	if destroy, id := r.sys.destroy, r.id; !r.kept {
		go destroy(id)
	}
	r.id, r.header, r.events = 0, nil, nil
	if r.err == nil {
		r.err = fmt.Errorf("linux aio: %w", os.ErrClosed)
	}
	if r.mem == nil {
		return nil
	}
	err := r.sys.munmap(r.mem)
	r.mem, r.iocbs, r.pointers = nil, nil, nil
	return os.NewSyscallError("munmap for aio", err)
}
