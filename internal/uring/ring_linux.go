package uring

// This file holds the ring and its life: how it is made from the kernel's parts, and how it is closed.

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"github.com/cloudwego/netpoll/internal/iobatch"
	"golang.org/x/sys/unix"
)

// A Ring executes batches of socket operations. It belongs to one user at a time: callers that share one hold a lock
// of their own around everything from the first operation queued to the return of Submit. Which thread calls does
// not matter.
type Ring struct {
	sys kernelCalls
	fd  int

	sqMem, cqMem, sqeMem []byte // the mappings; cqMem is nil where both rings are in sqMem

	sqHead, sqTail *uint32 // shared: the kernel writes the head, the ring the tail
	sqMask         uint32
	sqes           []sqe // shared, as long as the submission queue
	tail           uint32

	cqHead, cqTail *uint32 // shared: the ring writes the head, the kernel the tail
	cqMask         uint32
	cqes           []cqe // shared

	batch iobatch.Queue // the operations queued, in the order of their entries

	err error // why the ring can no longer be used, nil while it can
}

// New makes a ring that takes a batch of at least entries operations; the kernel rounds up to a power of two, and
// reduces a number that is more than it allows. The ring's descriptor is closed on exec. The error wraps the errno:
// ENOSYS where the kernel has no io_uring, EPERM where it is forbidden, ENOMEM where it may not lock the memory,
// EMFILE.
func New(entries uint32) (*Ring, error) {
	sys := kernel
	p := params{flags: setupClamp | setupSubmitAll}
	fd, errno := sys.setup(entries, &p)
	if errno == unix.EINVAL {
		p = params{flags: setupClamp}
		fd, errno = sys.setup(entries, &p)
	}
	if errno != 0 {
		return nil, os.NewSyscallError("io_uring_setup", errno)
	}
	r := &Ring{sys: sys, fd: fd}
	if err := r.mapQueues(&p); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	n := len(r.sqes)
	r.batch = iobatch.NewQueue(n)
	return r, nil
}

// mapQueues maps the queues that p describes.
func (r *Ring) mapQueues(p *params) (err error) {
	sqLen := int(p.sq.array) + int(p.sqEntries)*4
	cqLen := int(p.cq.cqes) + int(p.cqEntries)*int(unsafe.Sizeof(cqe{}))
	single := p.features&featSingleMmap != 0
	if single {
		sqLen = max(sqLen, cqLen)
	}
	if r.sqMem, err = r.mmap(offSQRing, sqLen); err != nil {
		return err
	}
	cqMem := r.sqMem
	if !single {
		if r.cqMem, err = r.mmap(offCQRing, cqLen); err != nil {
			return err
		}
		cqMem = r.cqMem
	}
	if r.sqeMem, err = r.mmap(offSQEs, int(p.sqEntries)*int(unsafe.Sizeof(sqe{}))); err != nil {
		return err
	}

	r.sqHead, r.sqTail = word(r.sqMem, p.sq.head), word(r.sqMem, p.sq.tail)
	r.cqHead, r.cqTail = word(cqMem, p.cq.head), word(cqMem, p.cq.tail)
	r.sqMask, r.cqMask = *word(r.sqMem, p.sq.mask), *word(cqMem, p.cq.mask)
	r.sqes = unsafe.Slice((*sqe)(unsafe.Pointer(&r.sqeMem[0])), p.sqEntries)
	r.cqes = unsafe.Slice((*cqe)(unsafe.Pointer(word(cqMem, p.cq.cqes))), p.cqEntries)
	// The queue proper holds indices of entries. Entry i is always used at position i, so it is written only here.
	for i := range p.sqEntries {
		*word(r.sqMem, p.sq.array+i*4) = i
	}
	r.tail = atomic.LoadUint32(r.sqTail)
	return nil
}

func (r *Ring) mmap(offset int64, length int) ([]byte, error) {
	mem, err := r.sys.mmap(r.fd, offset, length, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return nil, os.NewSyscallError("mmap of io_uring", err)
	}
	return mem, nil
}

// word returns the shared word at offset.
func word(mem []byte, offset uint32) *uint32 {
	return (*uint32)(unsafe.Pointer(&mem[offset]))
}

// Cap returns how many operations fit into one batch.
func (r *Ring) Cap() int { return len(r.sqes) }

// Len returns how many operations are queued for the next Submit.
func (r *Ring) Len() int { return r.batch.Len() }

// Close frees the ring. Operations still queued will not be executed; a Submit after Close reports them so. Closing
// again does nothing. Close does not wait, and must not be called while Submit runs.
func (r *Ring) Close() error {
	if r.fd < 0 {
		return nil
	}
	errs := []error{os.NewSyscallError("close of io_uring", unix.Close(r.fd))}
	for _, mem := range [][]byte{r.sqMem, r.cqMem, r.sqeMem} {
		if mem != nil {
			errs = append(errs, os.NewSyscallError("munmap of io_uring", r.sys.munmap(mem)))
		}
	}
	r.fd = -1
	r.sqMem, r.cqMem, r.sqeMem, r.sqes, r.cqes = nil, nil, nil, nil, nil
	r.sqHead, r.sqTail, r.cqHead, r.cqTail = nil, nil, nil, nil
	if r.err == nil {
		r.err = fmt.Errorf("io_uring: %w", os.ErrClosed)
	}
	return errors.Join(errs...)
}
