package aio

// This file holds the probe: whether AIO can be used here. It is not enough that the system calls exist; a kernel, a
// container or an emulation may have them, and fail to do what a batch relies on.

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/uring"
)

var probeOnce = sync.OnceValue(Probe)

// ProbeOnce is [Probe], done once for the life of the program. It may be called from many goroutines.
func ProbeOnce() error { return probeOnce() }

// Probe reports why no ring can be used here, or nil when one can. It makes a ring and sends and receives over a pair
// of sockets; nothing of it remains. The error wraps the errno of the refusal (ENOSYS, EPERM, EAGAIN, EOPNOTSUPP, …), or
// [ErrMisbehaves] when an operation did not do what it should.
func Probe() error {
	ring, err := New(4)
	if err != nil {
		return fmt.Errorf("%s: %w", refusal(err), err)
	}
	return ring.probe()
}

// probe uses the ring, and closes it.
func (r *Ring) probe() error {
	err := r.waitsForNothing()
	if err == nil {
		err = uring.Exercise(r, ErrMisbehaves)
	}
	if err != nil {
		err = fmt.Errorf("linux aio probe: %w", err)
	}
	return errors.Join(err, r.Close())
}

// refusal says in words what the errno of a refused ring means.
func refusal(err error) string {
	switch {
	case errors.Is(err, unix.ENOSYS):
		return "the kernel has no aio"
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return "linux aio is forbidden here (seccomp)"
	case errors.Is(err, unix.EAGAIN):
		return "no room for one more user of linux aio (fs.aio-max-nr)"
	case errors.Is(err, unix.ENOMEM):
		return "no memory for linux aio"
	}
	return "linux aio cannot be set up"
}

// waitsForNothing reports an error if the kernel cannot keep an operation on a socket from waiting, which it does from
// Linux 6.5 on. The mode of a socket does not help: all duplicates of the descriptor share it, and a poller that waits
// in a call for one socket serves no other. The kernel checks the flag of a plain call and that of an operation of AIO
// in the same place, so a plain call shows it.
func (r *Ring) waitsForNothing() error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socketpair", err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	if err = r.sys.noWait(pair[0]); errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("the kernel has no operations on sockets that never wait: %w", err)
	}
	return nil
}
