package aio

// This file proves that no byte is lost or sent twice, and no memory used by two, when the kernel misbehaves: operations
// that it refuses or keeps, and events that cannot be. Calls that fail are in package ringtest, for every kind of ring.

import (
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/cloudwego/netpoll/internal/iobatch"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testkit/ringtest"
)

// An operation that the kernel refuses does not affect the others, and a plain call returns the reason.
func TestRefusedOperationIsLeftToAPlainCall(t *testing.T) {
	ring := newRing(t, 8)
	a, b := ringtest.NewPair(t, "unix")
	directory, err := unix.Open("/", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	defer unix.Close(directory)
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	require.NoError(t, err)
	defer unix.Close(epoll)
	calls := 0
	ring.sys.submit = func(id uintptr, list []uintptr) (int, unix.Errno) {
		if len(list) > 0 {
			calls++
		}
		return submit(id, list)
	}
	buf := make([]byte, 8)
	ring.Recv(epoll, buf, 0)
	ring.Send(a, []byte("a"), 1)
	ring.Recv(directory, buf, 2)
	ring.queue(255, a, buf, 0, 3) // no such operation
	ring.Send(a, []byte("c"), 4)
	ring.queue(opWrite, a, buf, 1<<31, 5) // no such flag
	results, err := ringtest.Submit(t, ring)
	require.NoError(t, err)
	require.Equal(t, []int32{iobatch.NotExecuted, 1, iobatch.NotExecuted, iobatch.NotExecuted, 1, iobatch.NotExecuted}, results)
	require.Equal(t, "ac", string(ringtest.Drain(t, b)))
	require.Equal(t, 6, calls, "one for each refused operation, and those that end before one, and the rest")
	require.True(t, ring.Send(a, []byte("d"), 0), "the ring goes on")
}

// A ring whose context is gone refuses every operation with the error of a bad one: Submit must distinguish the two.
func TestRingWhoseContextIsGoneIsBroken(t *testing.T) {
	ring, err := New(4)
	require.NoError(t, err)
	a, b := ringtest.NewPair(t, "unix")
	require.Zero(t, destroy(ring.id))
	ring.header = nil // its memory went with it
	for i := range 4 {
		require.True(t, ring.Send(a, []byte("x"), uint64(i)))
	}
	calls := intercept(ring, func(_ int, r *Ring, list []uintptr) (int, unix.Errno) { return submit(r.id, list) })
	results, err := ringtest.Submit(t, ring)
	require.ErrorIs(t, err, unix.EINVAL)
	require.ErrorContains(t, err, "io_submit")
	require.Equal(t, []int32{iobatch.NotExecuted, iobatch.NotExecuted, iobatch.NotExecuted, iobatch.NotExecuted}, results)
	require.Equal(t, 1, *calls)
	require.Empty(t, ringtest.Drain(t, b))
	require.NoError(t, ring.Close())
}

// waiting is submit for operations that wait for input, in place of those in list.
func waiting(ring *Ring, list []uintptr) (int, unix.Errno) {
	const poll = 5
	first := len(ring.batch.Ops) - len(list)
	for i := range list {
		cb := &ring.iocbs[first+i]
		cb.opcode, cb.buf, cb.size, cb.words = poll, unix.POLLIN, 0, [2]uint32{}
	}
	return submit(ring.id, list)
}

func TestOperationThatIsLateKeepsItsResult(t *testing.T) {
	for name, change := range map[string]func(*kernelCalls){"memory": func(*kernelCalls) {}, "call": hideMapping} {
		t.Run(name, func(t *testing.T) {
			replaceKernel(t, change)
			ring := newRing(t, 4)
			a, b := ringtest.NewPair(t, "unix")
			intercept(ring, func(_ int, r *Ring, list []uintptr) (int, unix.Errno) { return waiting(r, list) })
			ring.sys.getEvents = func(id uintptr, least int, events []event, patience *unix.Timespec) (int, unix.Errno) {
				if least == 1 {
					_, err := unix.Write(b, []byte("late"))
					require.NoError(t, err)
				}
				return getEvents(id, least, events, patience)
			}
			ring.Recv(a, make([]byte, 1<<10), 0)
			results, err := ringtest.Submit(t, ring)
			require.ErrorIs(t, err, ErrMisbehaves)
			require.Len(t, results, 1)
			require.NotZero(t, results[0]&unix.POLLIN)
			require.Positive(t, results[0])
			require.False(t, ring.Send(a, []byte("x"), 0), "a kernel that keeps operations is not for us")
			require.False(t, ring.kept)
		})
	}
}

func TestOperationThatNeverComesBackIsLostAndItsMemoryKept(t *testing.T) {
	setPatience(t, 20*time.Millisecond)
	before := len(iobatch.Lost())
	ring, err := New(4)
	require.NoError(t, err)
	a, b := ringtest.NewPair(t, "unix")
	intercept(ring, func(_ int, r *Ring, list []uintptr) (int, unix.Errno) { return waiting(r, list) })
	ring.sys.destroy = func(uintptr) unix.Errno {
		t.Error("a context with an operation is destroyed")
		return 0
	}
	buf := make([]byte, 8)
	ring.Recv(a, buf, 0)
	results, err := ringtest.Submit(t, ring)
	require.ErrorIs(t, err, ErrMisbehaves)
	require.Equal(t, []int32{iobatch.InDoubt}, results)
	require.Len(t, iobatch.Lost(), before+1)
	require.Same(t, &buf[0], &iobatch.Lost()[before][0])
	id := ring.id
	require.NoError(t, ring.Close())
	_, err = unix.Write(b, []byte("x"))
	require.NoError(t, err)
	require.Zero(t, destroy(id)) // this one would have let go
}

func setPatience(t *testing.T, d time.Duration) {
	old := iobatch.RecallPatience
	iobatch.RecallPatience = d
	t.Cleanup(func() { iobatch.RecallPatience = old })
}

// Whatever is in the memory that the kernel shares, no index of it leads beyond what is there, and an event that cannot
// be is no result.
func TestEventsThatCannotBeAreNotBelieved(t *testing.T) {
	setPatience(t, 20*time.Millisecond)
	for _, c := range []struct {
		name  string
		spoil func(r *Ring, e *event)
		want  []int32
	}{
		{"tail beyond the ring", func(r *Ring, _ *event) { r.header.tail = 1 << 31 }, []int32{iobatch.InDoubt, iobatch.InDoubt}},
		{"tail at the end", func(r *Ring, _ *event) { r.header.tail = r.header.nr }, []int32{iobatch.InDoubt, iobatch.InDoubt}},
		{"of no operation", func(_ *Ring, e *event) { e.data = 2 }, []int32{1, iobatch.InDoubt}},
		{"of one far away", func(_ *Ring, e *event) { e.data = 1<<64 - 1 }, []int32{1, iobatch.InDoubt}},
		{"twice of one", func(_ *Ring, e *event) { e.data = 0; e.res = 0 }, []int32{1, iobatch.InDoubt}},
		{"more than there is room", func(_ *Ring, e *event) { e.res = 2 }, []int32{1, iobatch.InDoubt}},
		{"no errno", func(_ *Ring, e *event) { e.res = -1 << 40 }, []int32{1, iobatch.InDoubt}},
	} {
		t.Run(c.name, func(t *testing.T) {
			ring := newRing(t, 4)
			a, _ := ringtest.NewPair(t, "unix")
			intercept(ring, func(_ int, r *Ring, list []uintptr) (int, unix.Errno) {
				n, errno := submit(r.id, list)
				c.spoil(r, &r.events[r.header.tail-1])
				return n, errno
			})
			ring.sys.getEvents = func(uintptr, int, []event, *unix.Timespec) (int, unix.Errno) { return 0, unix.EINVAL }
			ring.Send(a, []byte("x"), 0)
			ring.Send(a, []byte("y"), 1)
			results, err := ringtest.Submit(t, ring)
			require.ErrorIs(t, err, ErrMisbehaves)
			require.Equal(t, c.want, results)
		})
	}
}

// Events that were not taken, here because the test put them there, use up room that operations need.
func TestEventsInTheWayAreTaken(t *testing.T) {
	ring := newRing(t, 4)
	a, b := ringtest.NewPair(t, "unix")
	for { // until the kernel has no room for one more event
		cb := iocb{fd: uint32(a), data: 1 << 40, opcode: opRead, size: 0}
		ring.iocbs[0] = cb
		if _, errno := submit(ring.id, ring.pointers[:1]); errno != 0 {
			require.Equal(t, unix.EAGAIN, errno)
			break
		}
	}
	for i := range 4 {
		require.True(t, ring.Send(a, []byte{byte('0' + i)}, uint64(i)))
	}
	results, err := ringtest.Submit(t, ring)
	require.NoError(t, err)
	require.Equal(t, []int32{1, 1, 1, 1}, results)
	require.Equal(t, "0123", string(ringtest.Drain(t, b)))
}

// A program that asks for SIGPIPE sees one for a send to a peer that is gone, as package net's write(2) raises it,
// unless the kernel can do without it.
func TestSignalOfASendToNobodyIsThatOfAPlainWrite(t *testing.T) {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGPIPE, unix.SIGWINCH)
	defer signal.Stop(signals)
	raised := func(send func(fd int)) bool {
		a, b := ringtest.NewPair(t, "unix")
		ringtest.CloseEnd(t, b)
		send(a)
		require.NoError(t, unix.Kill(unix.Getpid(), unix.SIGWINCH)) // comes after a SIGPIPE, which has a lower number
		first := testkit.Receive(t, signals, "a signal")
		if first == unix.SIGPIPE {
			require.Equal(t, os.Signal(syscall.SIGWINCH), testkit.Receive(t, signals, "the other signal"))
		}
		return first == unix.SIGPIPE
	}
	byRing := func(flags uint32) func(fd int) {
		return func(fd int) {
			ring := newRing(t, 1)
			require.NotZero(t, ring.sendFlags&unix.RWF_NOWAIT)
			ring.sendFlags = flags
			require.True(t, ring.Send(fd, []byte("x"), 0))
			results, err := ringtest.Submit(t, ring)
			require.NoError(t, err)
			require.Equal(t, []int32{-int32(unix.EPIPE)}, results)
		}
	}
	require.True(t, raised(func(fd int) {
		_, err := unix.Write(fd, []byte("x"))
		require.Equal(t, unix.EPIPE, err)
	}))
	require.True(t, raised(byRing(unix.RWF_NOWAIT)))
	if quiet() != 0 {
		require.False(t, raised(byRing(unix.RWF_NOWAIT|quiet())))
	}
}
