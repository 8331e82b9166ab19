package uring

// This file proves that the probe says yes only to a ring that works, and names what is wrong otherwise.

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/testkit/ringtest"
)

func TestProbeAcceptsThisKernelAndLeavesNothing(t *testing.T) {
	rings, sockets := ringsInUse(t), descriptorsOf(t, "socket:")
	require.NoError(t, Probe())
	require.NoError(t, ProbeOnce())
	require.Equal(t, rings, ringsInUse(t))
	require.Equal(t, sockets, descriptorsOf(t, "socket:"))
}

func TestProbeOnceAsksTheKernelOnce(t *testing.T) {
	first := ProbeOnce()
	replaceKernel(t, func(k *kernelCalls) {
		k.setup = func(uint32, *params) (int, unix.Errno) { return -1, unix.ENOSYS }
	})
	require.Equal(t, first, ProbeOnce())
	require.Error(t, Probe())
}

func TestProbeNamesTheRefusal(t *testing.T) {
	for _, c := range []struct {
		errno unix.Errno
		text  string
	}{
		{unix.ENOSYS, "no io_uring"},
		{unix.EPERM, "forbidden"},
		{unix.EACCES, "forbidden"},
		{unix.ENOMEM, "locked memory"},
		{unix.EMFILE, "no descriptor"},
		{unix.EIO, "cannot be set up"},
	} {
		t.Run(c.errno.Error(), func(t *testing.T) {
			replaceKernel(t, func(k *kernelCalls) {
				k.setup = func(uint32, *params) (int, unix.Errno) { return -1, c.errno }
			})
			err := Probe()
			require.ErrorIs(t, err, c.errno)
			require.NotErrorIs(t, err, ErrMisbehaves)
			require.ErrorContains(t, err, c.text)
		})
	}
	t.Run("mapping", func(t *testing.T) {
		rings := ringsInUse(t)
		replaceKernel(t, func(k *kernelCalls) {
			k.mmap = func(int, int64, int, int, int) ([]byte, error) { return nil, unix.ENOMEM }
		})
		require.ErrorIs(t, Probe(), unix.ENOMEM)
		require.Equal(t, rings, ringsInUse(t))
	})
	t.Run("enter", func(t *testing.T) {
		rings, sockets := ringsInUse(t), descriptorsOf(t, "socket:")
		replaceKernel(t, func(k *kernelCalls) {
			k.enter = func(int, uint32, uint32) (int, unix.Errno) { return -1, unix.EPERM }
		})
		require.ErrorIs(t, Probe(), unix.EPERM)
		require.Equal(t, rings, ringsInUse(t))
		require.Equal(t, sockets, descriptorsOf(t, "socket:"))
	})
}

// Each case spoils one thing that only using the ring can show.
func TestProbeRefusesAKernelThatMisbehaves(t *testing.T) {
	setPatience(t, 20*time.Millisecond)
	for _, c := range []struct {
		name, step string
		spoil      func(entry *sqe, buf []byte, done *cqe)
	}{
		{"no such operation", "nothing to receive", func(_ *sqe, _ []byte, done *cqe) { done.res = -int32(unix.EINVAL) }},
		{"another operation's completion", "nothing to receive", func(_ *sqe, _ []byte, done *cqe) { done.userData += 3 }},
		{"send not done", "sends and receives", func(e *sqe, _ []byte, done *cqe) {
			if e.opcode == opSend {
				done.res = 0
			}
		}},
		{"receive elsewhere", "sends and receives", func(e *sqe, buf []byte, done *cqe) {
			if e.opcode == opRecv && done.res > 0 {
				clear(buf)
			}
		}},
		{"short send reported as none", "full socket", func(e *sqe, _ []byte, done *cqe) {
			if e.opcode == opSend && uint32(done.res) < e.length {
				done.res = -int32(unix.EAGAIN)
			}
		}},
		{"short send reported as whole", "full socket", func(e *sqe, _ []byte, done *cqe) {
			if e.opcode == opSend && done.res > 0 {
				done.res = int32(e.length)
			}
		}},
		{"short send reported shorter", "full socket", func(e *sqe, _ []byte, done *cqe) {
			if e.opcode == opSend && done.res > 100 {
				done.res--
			}
		}},
		{"end not reported", "end of stream", func(e *sqe, _ []byte, done *cqe) {
			if e.opcode == opRecv && done.res == 0 {
				done.res = -int32(unix.EAGAIN)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := probeSpoiled(t, func(r *Ring, submit, flags uint32) (int, unix.Errno) {
				head := *r.sqHead
				n, errno := enter(r.fd, submit, flags)
				for i := *r.cqHead; i != *r.cqTail; i++ { // completions are in the order of the entries here
					entry, done := &r.sqes[head&r.sqMask], &r.cqes[i&r.cqMask]
					if done.userData < uint64(len(r.batch.Ops)) {
						c.spoil(entry, r.batch.Ops[done.userData].Buf, done)
					}
					head++
				}
				return n, errno
			})
			require.ErrorIs(t, err, ErrMisbehaves)
			require.ErrorContains(t, err, c.step)
		})
	}
	t.Run("operations wait", func(t *testing.T) {
		err := probeSpoiled(t, func(r *Ring, submit, flags uint32) (int, unix.Errno) {
			ignoreDontwait(r, true)
			return enter(r.fd, submit, flags)
		})
		require.ErrorIs(t, err, ErrMisbehaves)
		require.ErrorContains(t, err, "nothing to receive")
	})
}

// probeSpoiled runs the probe's steps on a ring whose kernel is played.
func probeSpoiled(t *testing.T, play func(r *Ring, submit, flags uint32) (int, unix.Errno)) error {
	ring := newRing(t, 4)
	intercept(ring, func(_ int, r *Ring, submit, flags uint32) (int, unix.Errno) { return play(r, submit, flags) })
	a, b := ringtest.NewPair(t, "unix")
	p := prober{ring: ring, misbehaves: ErrMisbehaves}
	var err error
	p.fds[0], err = unix.FcntlInt(uintptr(a), unix.F_DUPFD_CLOEXEC, 0)
	require.NoError(t, err)
	p.fds[1], err = unix.FcntlInt(uintptr(b), unix.F_DUPFD_CLOEXEC, 0)
	require.NoError(t, err)
	ringtest.CloseEnd(t, a)
	ringtest.CloseEnd(t, b)
	defer func() { require.NoError(t, p.closeEnds()) }()
	return p.run()
}
