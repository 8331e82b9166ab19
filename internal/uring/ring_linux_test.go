package uring

// This file proves how rings are made and closed: the kernel's layouts, old kernels, refusals, and that nothing leaks.

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/testkit/ringtest"
)

func TestLayoutsAreTheKernels(t *testing.T) {
	require.EqualValues(t, 4, unsafe.Offsetof(sqe{}.fd))
	require.EqualValues(t, 16, unsafe.Offsetof(sqe{}.addr))
	require.EqualValues(t, 24, unsafe.Offsetof(sqe{}.length))
	require.EqualValues(t, 28, unsafe.Offsetof(sqe{}.msgFlags))
	require.EqualValues(t, 32, unsafe.Offsetof(sqe{}.userData))
	require.EqualValues(t, 8, unsafe.Offsetof(cqe{}.res))
	require.EqualValues(t, 20, unsafe.Offsetof(params{}.features))
	require.EqualValues(t, 40, unsafe.Offsetof(params{}.sq))
	require.EqualValues(t, 80, unsafe.Offsetof(params{}.cq))
	require.EqualValues(t, 24, unsafe.Offsetof(sqOffsets{}.array))
	require.EqualValues(t, 20, unsafe.Offsetof(cqOffsets{}.cqes))
}

func TestNewRoundsUpAndClosesOnExec(t *testing.T) {
	ring := newRing(t, 5)
	require.Equal(t, 8, ring.Cap())
	require.Zero(t, ring.Len())
	flags, err := unix.FcntlInt(uintptr(ring.fd), unix.F_GETFD, 0)
	require.NoError(t, err)
	require.NotZero(t, flags&unix.FD_CLOEXEC)
}

func TestRingWorksWithWhatOldKernelsOffer(t *testing.T) {
	for _, c := range []struct {
		name  string
		setup func(entries uint32, p *params) (int, unix.Errno)
	}{
		{"separate mappings", func(entries uint32, p *params) (int, unix.Errno) {
			fd, errno := setup(entries, p)
			p.features &^= featSingleMmap
			return fd, errno
		}},
		{"batches end at a refused operation", func(entries uint32, p *params) (int, unix.Errno) {
			if p.flags&setupSubmitAll != 0 {
				return -1, unix.EINVAL
			}
			return setup(entries, p)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			replaceKernel(t, func(k *kernelCalls) { k.setup = c.setup })
			require.NoError(t, Probe())
			ring := newRing(t, 4)
			a, b := ringtest.NewPair(t, "unix")
			ring.Send(a, []byte("a"), 0)
			ring.queue(255, a, []byte("b"), 0, 1) // no such operation
			ring.Send(a, []byte("c"), 2)
			results, err := ringtest.Submit(t, ring)
			require.NoError(t, err)
			require.Equal(t, []int32{1, -int32(unix.EINVAL), 1}, results)
			require.Equal(t, "ac", string(ringtest.Drain(t, b)))
		})
	}
}

func TestNewFailsWithoutLeavingAnything(t *testing.T) {
	before := ringsInUse(t)
	_, err := New(0)
	require.ErrorIs(t, err, unix.EINVAL)
	for failing := range 3 {
		maps := 0
		replaceKernel(t, func(k *kernelCalls) {
			k.setup = func(entries uint32, p *params) (int, unix.Errno) {
				fd, errno := setup(entries, p)
				p.features &^= featSingleMmap
				return fd, errno
			}
			k.mmap = func(fd int, offset int64, length, prot, flags int) ([]byte, error) {
				maps++
				if maps == failing+1 {
					return nil, unix.ENOMEM
				}
				return unix.Mmap(fd, offset, length, prot, flags)
			}
		})
		ring, err := New(4)
		require.ErrorIs(t, err, unix.ENOMEM)
		require.Nil(t, ring)
		require.Equal(t, failing+1, maps)
	}
	require.Equal(t, before, ringsInUse(t))
}

func TestCloseFreesDescriptorAndMemory(t *testing.T) {
	before := ringsInUse(t)
	ring, err := New(8)
	require.NoError(t, err)
	require.NotEqual(t, before, ringsInUse(t))
	require.NoError(t, ring.Close())
	require.Equal(t, before, ringsInUse(t))
}

// use counts what rings hold.
type use struct{ descriptors, mappings int }

// ringsInUse counts the descriptors and the mappings of rings in this process.
func ringsInUse(t *testing.T) (u use) {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	require.NoError(t, err)
	u.mappings = strings.Count(string(maps), "anon_inode:[io_uring]")
	u.descriptors = descriptorsOf(t, "anon_inode:[io_uring]")
	return u
}

// descriptorsOf counts the descriptors of this process whose kind begins with prefix.
func descriptorsOf(t *testing.T, prefix string) (n int) {
	t.Helper()
	links, err := filepath.Glob("/proc/self/fd/*")
	require.NoError(t, err)
	for _, link := range links {
		// One of the links is of the descriptor that listed them, which is gone by now.
		if target, err := os.Readlink(link); err == nil && strings.HasPrefix(target, prefix) {
			n++
		}
	}
	return n
}

// replaceKernel changes the system calls of rings made from here to the end of the test.
func replaceKernel(t *testing.T, change func(*kernelCalls)) {
	t.Helper()
	old := kernel
	change(&kernel)
	t.Cleanup(func() { kernel = old })
}
