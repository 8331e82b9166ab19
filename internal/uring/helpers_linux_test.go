package uring

// This file holds the rings, the pairs of sockets and the small accessors that all tests use.

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// networks are the kinds of pairs that newPair makes.
var networks = []string{"unix", "tcp"}

// newRing returns a ring that is closed at the end of the test.
func newRing(t testing.TB, entries uint32) *Ring {
	t.Helper()
	ring, err := New(entries)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, ring.Close()) })
	return ring
}

// newPair returns the two ends of a non-blocking stream that are closed at the end of the test.
func newPair(t testing.TB, network string) (a, b int) {
	t.Helper()
	if network == "tcp" {
		a, b = tcpPair(t)
	} else {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		require.NoError(t, err)
		a, b = pair[0], pair[1]
	}
	t.Cleanup(func() {
		// A test may have closed an end; it then does so by closeEnd, which puts another file under the number.
		require.NoError(t, unix.Close(a))
		require.NoError(t, unix.Close(b))
	})
	return a, b
}

// tcpPair returns duplicates of the descriptors of a TCP connection on the loopback.
func tcpPair(t testing.TB) (a, b int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	dialed, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer dialed.Close()
	accepted, err := l.Accept()
	require.NoError(t, err)
	defer accepted.Close()
	return dupConn(t, dialed), dupConn(t, accepted)
}

func dupConn(t testing.TB, conn net.Conn) (dup int) {
	t.Helper()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	require.NoError(t, err)
	var dupErr error
	require.NoError(t, raw.Control(func(fd uintptr) {
		dup, dupErr = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
	}))
	require.NoError(t, dupErr)
	return dup
}

// closeEnd closes the socket fd at once, and leaves the number in use so that no other file gets it.
func closeEnd(t testing.TB, fd int) {
	t.Helper()
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	require.NoError(t, unix.Dup3(null, fd, unix.O_CLOEXEC))
	require.NoError(t, unix.Close(null))
}

// submit runs the batch and returns the results in order; the tags must be 0, 1, 2, … as the tests queue them.
func submit(t testing.TB, ring *Ring) ([]int32, error) {
	t.Helper()
	var results []int32
	err := ring.Submit(func(tag uint64, res int32) {
		require.EqualValues(t, len(results), tag, "each operation is answered once, in order")
		results = append(results, res)
	})
	require.Zero(t, ring.Len(), "nothing stays queued")
	return results, err
}

// intercept lets play stand between the ring and the kernel: it gets the number of the call, from 0, and does what
// io_uring_enter should, or should not. It returns the count of calls.
func intercept(ring *Ring, play func(call int, ring *Ring, submit, flags uint32) (int, unix.Errno)) *int {
	calls := new(int)
	ring.sys.enter = func(_ int, submit, flags uint32) (int, unix.Errno) {
		call := *calls
		*calls++
		return play(call, ring, submit, flags)
	}
	return calls
}

// waitReadable returns when fd has something to receive, be it the end or an error.
func waitReadable(t testing.TB, fd int) { waitFor(t, fd, unix.POLLIN) }

// waitWritable returns when fd takes more.
func waitWritable(t testing.TB, fd int) { waitFor(t, fd, unix.POLLOUT) }

func waitFor(t testing.TB, fd int, events int16) {
	t.Helper()
	fds := []unix.PollFd{{Fd: int32(fd), Events: events}}
	for {
		n, err := unix.Poll(fds, 10_000)
		if err == unix.EINTR {
			continue
		}
		require.NoError(t, err)
		require.Equal(t, 1, n, "nothing happened in ten seconds")
		return
	}
}

// drain receives by plain calls whatever the socket holds.
func drain(t testing.TB, fd int) []byte {
	t.Helper()
	var all []byte
	buf := make([]byte, 64<<10)
	for {
		n, err := unix.Read(fd, buf)
		if err == unix.EAGAIN {
			return all
		}
		require.NoError(t, err)
		if n == 0 {
			return all
		}
		all = append(all, buf[:n]...)
	}
}
