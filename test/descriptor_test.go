//go:build linux

package test

// The sockets of connections: options, inheritance, addresses, and connections made from a descriptor.

import (
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// acceptedBy returns a connection that a server accepted, and its client.
func acceptedBy(t *testing.T, network, address string) (conn netpoll.Connection, client net.Conn) {
	t.Helper()
	accepted := make(chan netpoll.Connection, 1)
	ln, err := netpoll.CreateListener(network, address)
	require.NoError(t, err)
	loop, err := netpoll.NewEventLoop(testnet.Echo,
		netpoll.WithOnConnect(func(ctx context.Context, conn netpoll.Connection) context.Context {
			accepted <- conn
			return ctx
		}))
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- loop.Serve(ln) }()
	t.Cleanup(func() {
		require.NoError(t, loop.Shutdown(context.Background()))
		require.NoError(t, testkit.Receive(t, served))
	})
	target := ln.Addr().String()
	if a, ok := ln.Addr().(*net.TCPAddr); ok {
		target = (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: a.Port}).String()
	}
	client, err = net.Dial(network, target)
	require.NoError(t, err)
	t.Cleanup(func() { client.Close() })
	require.NoError(t, testkit.RoundTrip(client, "hello"))
	return testkit.Receive(t, accepted), client
}

// Behaviour 5.12: TCP_NODELAY and keepalive are on, for accepted and for dialed connections.
func TestTCPConnectionsHaveNoDelayAndKeepAlive(t *testing.T) {
	accepted, _ := acceptedBy(t, "tcp", "127.0.0.1:0")
	dialed, _ := testnet.Dialed(t, "tcp")
	for name, conn := range map[string]netpoll.Connection{"accepted": accepted, "dialed": dialed} {
		fd := conn.(netpoll.Conn).Fd()
		noDelay, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY)
		require.NoError(t, err)
		require.Equal(t, 1, noDelay, "TCP_NODELAY, %s", name)
		keepAlive, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE)
		require.NoError(t, err)
		require.Equal(t, 1, keepAlive, "SO_KEEPALIVE, %s", name)
		idle, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE)
		require.NoError(t, err)
		require.Equal(t, 15, idle, "TCP_KEEPIDLE as package net sets it, %s", name)
	}
}

// Behaviour 6.4: SetIdleTimeout sets TCP keepalive, whole seconds rounded up, and does nothing on Unix sockets.
func TestSetIdleTimeoutSetsKeepAlive(t *testing.T) {
	conn, _ := testnet.Dialed(t, "tcp")
	cases := []struct {
		d    time.Duration
		want int
	}{{7 * time.Second, 7}, {1500 * time.Millisecond, 2}, {time.Millisecond, 1}, {0, 1}, {-time.Second, 1}}
	for _, c := range cases {
		require.NoError(t, conn.SetIdleTimeout(c.d))
		idle, err := unix.GetsockoptInt(conn.(netpoll.Conn).Fd(), unix.IPPROTO_TCP, unix.TCP_KEEPIDLE)
		require.NoError(t, err)
		require.Equal(t, c.want, idle, "TCP_KEEPIDLE after SetIdleTimeout(%v)", c.d)
	}
	conn, _ = testnet.Dialed(t, "unix")
	require.NoError(t, conn.SetIdleTimeout(time.Second))
}

// Behaviour 5.13: accepted sockets, dialed ones, socket pairs, epoll and event descriptors are close-on-exec.
func TestDescriptorsAreCloseOnExec(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		acceptedBy(t, network, testkit.LocalAddress(t, network))
		testnet.Dialed(t, network)
	}
	r, w := netpoll.GetSysFdPairs()
	defer func() {
		require.NoError(t, closeFd(r))
		require.NoError(t, closeFd(w))
	}()
	checked := make(map[string]int)
	for fd, target := range openFiles() {
		kind, _, _ := strings.Cut(target, ":")
		if fd <= 2 || kind != "socket" && kind != "anon_inode" {
			continue
		}
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		require.NoError(t, err)
		require.NotZero(t, flags&unix.FD_CLOEXEC, "descriptor %d, %s, would be inherited", fd, target)
		checked[kind]++
	}
	require.GreaterOrEqual(t, checked["socket"], 12)
	require.Positive(t, checked["anon_inode"])
}

// Behaviour 5.13: a program started meanwhile inherits none of them.
func TestStartedProgramInheritsNoSocket(t *testing.T) {
	acceptedBy(t, "tcp", "127.0.0.1:0")
	testnet.Dialed(t, "unix")
	out, err := exec.Command("ls", "-l", "/proc/self/fd").CombinedOutput()
	require.NoError(t, err)
	require.NotContains(t, string(out), "socket:")
	require.NotContains(t, string(out), "eventpoll")
}

// Behaviour 5.13: LocalAddr of an accepted connection is its own address, not the listener's wildcard.
func TestAddressesOfAcceptedConnection(t *testing.T) {
	for _, listen := range []string{"127.0.0.1:0", "0.0.0.0:0"} { // the wildcard is what must not be reported
		t.Run(listen, func(t *testing.T) {
			conn, client := acceptedBy(t, "tcp", listen)
			require.IsType(t, &net.TCPAddr{}, conn.LocalAddr())
			require.IsType(t, &net.TCPAddr{}, conn.RemoteAddr())
			require.Equal(t, client.RemoteAddr().String(), conn.LocalAddr().String())
			require.Equal(t, client.LocalAddr().String(), conn.RemoteAddr().String())
		})
	}
	t.Run("unix", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "s")
		conn, _ := acceptedBy(t, "unix", path)
		require.Equal(t, &net.UnixAddr{Name: path, Net: "unix"}, conn.LocalAddr())
		require.IsType(t, &net.UnixAddr{}, conn.RemoteAddr())
	})
}

// Behaviour 5.13: addresses stay what they were after Close.
func TestAddressesSurviveClose(t *testing.T) {
	conn, _ := testnet.Dialed(t, "tcp")
	local, remote := conn.LocalAddr().String(), conn.RemoteAddr().String()
	require.NoError(t, conn.Close())
	require.Equal(t, local, conn.LocalAddr().String())
	require.Equal(t, remote, conn.RemoteAddr().String())
}

// fdPair returns two connections over the two ends of GetSysFdPairs.
func fdPair(t *testing.T) (a, b netpoll.Connection) {
	t.Helper()
	x, y := netpoll.GetSysFdPairs()
	a, err := netpoll.NewFDConnection(x)
	require.NoError(t, err)
	t.Cleanup(func() { a.Close() })
	b, err = netpoll.NewFDConnection(y)
	require.NoError(t, err)
	t.Cleanup(func() { b.Close() })
	return a, b
}

// Behaviour 5.13: NewFDConnection has nil addresses when the descriptor has none, and carries data.
func TestFDConnectionHasNoAddresses(t *testing.T) {
	a, b := fdPair(t)
	for _, conn := range []netpoll.Connection{a, b} {
		require.True(t, conn.LocalAddr() == nil, "LocalAddr is %#v", conn.LocalAddr())
		require.True(t, conn.RemoteAddr() == nil, "RemoteAddr is %#v", conn.RemoteAddr())
	}
	require.NoError(t, a.SetOnRequest(testnet.Echo))
	for range 10 {
		_, err := b.Write([]byte("ping"))
		require.NoError(t, err)
		p, err := b.Reader().Next(4)
		require.NoError(t, err)
		require.Equal(t, "ping", string(p))
	}
	require.NoError(t, a.Close())
	_, err := b.Read(make([]byte, 1))
	require.Equal(t, io.EOF, err)
}

// Behaviour 5.13: timeouts work on a connection without addresses, and their errors have a text.
func TestFDConnectionTimesOut(t *testing.T) {
	a, _ := fdPair(t)
	require.NoError(t, a.SetReadTimeout(5*time.Millisecond))
	_, err := a.Reader().Next(1)
	require.ErrorIs(t, err, netpoll.ErrReadTimeout)
	require.Contains(t, err.Error(), "timeout")
	require.NoError(t, a.SetReadDeadline(time.Now().Add(-time.Second)))
	_, err = a.Reader().Next(1)
	require.ErrorIs(t, err, netpoll.ErrReadTimeout)

	require.NoError(t, a.SetWriteTimeout(5*time.Millisecond))
	_, err = a.Writer().WriteBinary(make([]byte, 8<<20))
	require.NoError(t, err)
	err = a.Writer().Flush()
	require.ErrorIs(t, err, netpoll.ErrWriteTimeout)
	require.Contains(t, err.Error(), "when flush")
}

// Behaviour 5.13: a descriptor that looks like a stream but cannot be watched is refused, and still belongs to the
// caller.
func TestRefusedDescriptorStillBelongsToTheCaller(t *testing.T) {
	fd, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	before, err := socketID(fd)
	require.NoError(t, err)
	conn, err := netpoll.NewFDConnection(fd)
	require.Error(t, err)
	require.True(t, conn == nil, "a failed NewFDConnection returned %#v", conn)
	after, err := socketID(fd)
	require.NoError(t, err, "the descriptor was closed")
	require.Equal(t, before, after)
	require.NoError(t, closeFd(fd))
}

// Behaviour 2.2: the errno of a pipe without a reader stays visible: it is EPIPE, before the poller has noticed and
// after.
func TestWriteToPipeWithoutReaderSaysEPIPE(t *testing.T) {
	for name, noticed := range map[string]bool{"at once": false, "when the connection knows": true} {
		t.Run(name, func(t *testing.T) {
			var ends [2]int
			require.NoError(t, unix.Pipe2(ends[:], unix.O_CLOEXEC))
			conn, err := netpoll.NewFDConnection(ends[1])
			require.NoError(t, err)
			defer conn.Close()
			require.NoError(t, closeFd(ends[0]))
			if noticed {
				testkit.Eventually(t, func() bool { return !conn.IsActive() })
			}
			_, err = conn.Write([]byte("x"))
			require.ErrorIs(t, err, syscall.EPIPE)
		})
	}
}
