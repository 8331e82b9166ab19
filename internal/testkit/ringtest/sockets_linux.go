package ringtest

// This file holds pairs of sockets, and the plain calls on them.

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// networks are the kinds of pairs that NewPair makes.
var networks = []string{"unix", "tcp"}

// NewPair returns the two ends of a non-blocking stream. Both are closed at the end of the test.
func NewPair(t testing.TB, network string) (a, b int) {
	t.Helper()
	if network == "tcp" {
		a, b = tcpPair(t)
	} else {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		require.NoError(t, err)
		a, b = pair[0], pair[1]
	}
	t.Cleanup(func() {
		// A test may have closed an end before, with CloseEnd, which leaves another file under the number.
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

// CloseEnd closes the socket fd at once. Its number stays in use, so that the process cannot reuse it.
func CloseEnd(t testing.TB, fd int) {
	t.Helper()
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	require.NoError(t, unix.Dup3(null, fd, unix.O_CLOEXEC))
	require.NoError(t, unix.Close(null))
}

// WaitReadable returns when fd has something to receive: bytes, the end, or an error.
func WaitReadable(t testing.TB, fd int) { waitFor(t, fd, unix.POLLIN) }

// WaitWritable returns when fd has room to send.
func WaitWritable(t testing.TB, fd int) { waitFor(t, fd, unix.POLLOUT) }

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

// Drain receives all bytes that have arrived, with plain calls.
func Drain(t testing.TB, fd int) []byte {
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

// FillSocket sends until the socket is full.
func FillSocket(t *testing.T, fd int) {
	t.Helper()
	zeros := make([]byte, 64<<10)
	for {
		_, err := unix.Write(fd, zeros)
		if err == unix.EAGAIN {
			return
		}
		require.NoError(t, err)
	}
}
