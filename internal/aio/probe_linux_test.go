package aio

// This file proves that the probe says yes only to what works, and names what is wrong otherwise.

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/testkit"
)

func TestProbeAcceptsThisKernelAndLeavesNothing(t *testing.T) {
	before, sockets := contexts(t), testkit.OpenSockets()
	require.NoError(t, Probe())
	require.NoError(t, ProbeOnce())
	testkit.Eventually(t, func() bool { return contexts(t) <= before }, "contexts go")
	require.LessOrEqual(t, testkit.OpenSockets(), sockets)
}

func TestProbeOnceAsksTheKernelOnce(t *testing.T) {
	first := ProbeOnce()
	replaceKernel(t, func(k *kernelCalls) {
		k.setup = func(uint32) (uintptr, unix.Errno) { return 0, unix.ENOSYS }
	})
	require.Equal(t, first, ProbeOnce())
	require.Error(t, Probe())
}

func TestProbeNamesTheRefusal(t *testing.T) {
	for _, c := range []struct {
		errno unix.Errno
		text  string
	}{
		{unix.ENOSYS, "no aio"},
		{unix.EPERM, "forbidden"},
		{unix.EACCES, "forbidden"},
		{unix.EAGAIN, "aio-max-nr"},
		{unix.ENOMEM, "no memory"},
		{unix.EIO, "cannot be set up"},
	} {
		t.Run(c.errno.Error(), func(t *testing.T) {
			replaceKernel(t, func(k *kernelCalls) {
				k.setup = func(uint32) (uintptr, unix.Errno) { return 0, c.errno }
			})
			err := Probe()
			require.ErrorIs(t, err, c.errno)
			require.NotErrorIs(t, err, ErrMisbehaves)
			require.ErrorContains(t, err, c.text)
			require.ErrorContains(t, err, "io_setup")
		})
	}
	t.Run("submit", func(t *testing.T) {
		replaceKernel(t, func(k *kernelCalls) {
			k.submit = func(uintptr, []uintptr) (int, unix.Errno) { return -1, unix.EPERM }
		})
		err := Probe()
		require.ErrorIs(t, err, unix.EPERM)
		require.ErrorContains(t, err, "io_submit")
	})
	t.Run("sockets that wait", func(t *testing.T) {
		replaceKernel(t, func(k *kernelCalls) { k.noWait = func(int) error { return unix.EOPNOTSUPP } })
		err := Probe()
		require.ErrorIs(t, err, unix.EOPNOTSUPP)
		require.ErrorContains(t, err, "never wait")
	})
}

// Each case spoils one thing that only use can show. The steps themselves are those of package uring.
func TestProbeRefusesAKernelThatMisbehaves(t *testing.T) {
	setPatience(t, 20*time.Millisecond)
	for _, c := range []struct {
		name, step string
		spoil      func(cb *iocb, done *event)
	}{
		{"no such operation", "nothing to receive", func(_ *iocb, done *event) { done.res = -int64(unix.EINVAL) }},
		{"send not done", "sends and receives", func(cb *iocb, done *event) {
			if cb.opcode == opWrite {
				done.res = 0
			}
		}},
		{"short send reported as whole", "full socket", func(cb *iocb, done *event) {
			if cb.opcode == opWrite && done.res > 0 {
				done.res = int64(cb.size)
			}
		}},
		{"end not reported", "end of stream", func(cb *iocb, done *event) {
			if cb.opcode == opRead && done.res == 0 {
				done.res = -int64(unix.EAGAIN)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var ring *Ring
			replaceKernel(t, func(k *kernelCalls) {
				k.mapped = func(uintptr, uintptr) bool { return false } // so that events pass by here
				k.getEvents = func(id uintptr, least int, events []event, patience *unix.Timespec) (int, unix.Errno) {
					n, errno := getEvents(id, least, events, patience)
					for i := range max(n, 0) {
						c.spoil(&ring.iocbs[events[i].data], &events[i])
					}
					return n, errno
				}
			})
			var err error
			ring, err = New(4)
			require.NoError(t, err)
			err = ring.probe()
			require.ErrorIs(t, err, ErrMisbehaves)
			require.ErrorContains(t, err, c.step)
		})
	}
	t.Run("operations wait", func(t *testing.T) {
		ring := newRing(t, 4)
		intercept(ring, func(_ int, r *Ring, list []uintptr) (int, unix.Errno) { return waiting(r, list) })
		err := ring.probe()
		require.ErrorIs(t, err, ErrMisbehaves)
		require.ErrorContains(t, err, "nothing to receive")
	})
}
