//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package kqueue_test

// This file holds the sockets of the conformance scenarios.

import (
	"fmt"
	"slices"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// own notes a descriptor of the scenario.
func (t *trace) own(fd int) int {
	unix.CloseOnExec(fd)
	t.fds = append(t.fds, fd)
	return fd
}

func (t *trace) close(fd int) {
	t.fds = slices.DeleteFunc(t.fds, func(other int) bool { return other == fd })
	_ = unix.Close(fd)
}

func (t *trace) socket() int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	require.NoError(t, err)
	return t.own(fd)
}

func (t *trace) listen() (fd, port int) {
	t.Helper()
	fd = t.socket()
	require.NoError(t, unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	require.NoError(t, unix.Listen(fd, 8))
	name, err := unix.Getsockname(fd)
	require.NoError(t, err)
	require.NoError(t, unix.SetNonblock(fd, true))
	return fd, name.(*unix.SockaddrInet4).Port
}

// connect dials a port of this machine. Without blocking that may end with EINPROGRESS.
func (t *trace) connect(port int, nonblock bool) (int, error) {
	t.Helper()
	fd := t.socket()
	require.NoError(t, unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1))
	if nonblock {
		require.NoError(t, unix.SetNonblock(fd, true))
	}
	return fd, unix.Connect(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
}

// accept waits for a connection to accept.
func (t *trace) accept(fd int) int {
	t.Helper()
	for {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, 10_000); err != unix.EINTR {
			require.NoError(t, err)
			break
		}
	}
	nfd, _, err := unix.Accept(fd)
	require.NoError(t, err)
	require.NoError(t, unix.SetNonblock(nfd, true))
	return t.own(nfd)
}

// pair returns the two ends of a TCP connection: a is watched, b is its peer.
func (t *trace) pair() (a, b int) {
	t.Helper()
	l, port := t.listen()
	b, err := t.connect(port, false)
	require.NoError(t, err)
	a = t.accept(l)
	t.close(l)
	return a, b
}

func (t *trace) dup(fd int) int {
	t.Helper()
	d, err := unix.Dup(fd)
	require.NoError(t, err)
	return t.own(d)
}

func (t *trace) socketPair() [2]int {
	t.Helper()
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	require.NoError(t, err)
	return [2]int{t.own(p[0]), t.own(p[1])}
}

func (t *trace) pipe() [2]int {
	t.Helper()
	var p [2]int
	require.NoError(t, unix.Pipe(p[:]))
	return [2]int{t.own(p[0]), t.own(p[1])}
}

func (t *trace) send(fd int, s string) {
	t.Helper()
	n, err := unix.Write(fd, []byte(s))
	require.NoError(t, err)
	require.Equal(t, len(s), n)
}

func (t *trace) recv(fd, size int) string {
	n, err := unix.Read(fd, make([]byte, size))
	if err != nil {
		return "read:" + errName(err)
	}
	return fmt.Sprintf("read:%d", n)
}

// fill writes until the socket takes nothing more even when all has settled.
func (t *trace) fill(fd int) (total int) {
	buf := make([]byte, 64<<10)
	for {
		round := 0
		for {
			n, err := unix.Write(fd, buf)
			if err != nil || n <= 0 {
				break
			}
			round += n
		}
		if round == 0 {
			return total
		}
		total += round
		t.settle()
	}
}

// drain reads n bytes.
func (t *trace) drain(fd, n int) {
	t.Helper()
	buf := make([]byte, 256<<10)
	for n > 0 {
		got, err := unix.Read(fd, buf)
		require.NoError(t, err)
		require.Positive(t, got)
		n -= got
	}
}

func shutdownWrite(fd int) error { return unix.Shutdown(fd, unix.SHUT_WR) }
func shutdownRead(fd int) error  { return unix.Shutdown(fd, unix.SHUT_RD) }

// lingerZero makes closing reset the connection.
func lingerZero(fd int) error {
	return unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
}

func socketError(fd int) (int, error) { return unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR) }
