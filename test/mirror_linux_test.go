package test

// The options of sockets, as the kernel has them afterwards, beside those of package net.

import (
	"context"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// socketOptionsOf asks the kernel.
func socketOptionsOf(t *testing.T, conn any) (list map[string]int) {
	t.Helper()
	raw, err := conn.(syscall.Conn).SyscallConn()
	require.NoError(t, err)
	list = make(map[string]int)
	require.NoError(t, raw.Control(func(fd uintptr) {
		for name, o := range map[string][2]int{
			"keepalive": {unix.SOL_SOCKET, unix.SO_KEEPALIVE}, "no delay": {unix.IPPROTO_TCP, unix.TCP_NODELAY},
			"idle": {unix.IPPROTO_TCP, unix.TCP_KEEPIDLE}, "interval": {unix.IPPROTO_TCP, unix.TCP_KEEPINTVL},
			"count": {unix.IPPROTO_TCP, unix.TCP_KEEPCNT}, "receive": {unix.SOL_SOCKET, unix.SO_RCVBUF},
			"send": {unix.SOL_SOCKET, unix.SO_SNDBUF}, "linger": {unix.SOL_SOCKET, unix.SO_LINGER},
		} {
			if name != "linger" {
				list[name], err = unix.GetsockoptInt(int(fd), o[0], o[1])
				require.NoError(t, err)
				continue
			}
			l, err := unix.GetsockoptLinger(int(fd), o[0], o[1])
			require.NoError(t, err)
			list[name] = int(l.Onoff)<<16 | int(l.Linger)
		}
	}))
	return list
}

// netOptions are the setters that both have.
type netOptions interface {
	SetNoDelay(bool) error
	SetLinger(int) error
	SetKeepAlivePeriod(time.Duration) error
	SetKeepAliveConfig(net.KeepAliveConfig) error
	SetReadBuffer(int) error
	SetWriteBuffer(int) error
	MultipathTCP() (bool, error)
}

// Behaviour 9.8: an option does to the socket what it does in package net.
func TestOptionsAreThoseOfPackageNet(t *testing.T) {
	conn, peer := testnet.Dialed(t, "tcp")
	for _, set := range []func(o netOptions) error{
		func(o netOptions) error { return o.SetNoDelay(false) },
		func(o netOptions) error { return o.SetNoDelay(true) },
		func(o netOptions) error { return o.SetLinger(7) },
		func(o netOptions) error { return o.SetLinger(0) },
		func(o netOptions) error { return o.SetLinger(-1) },
		func(o netOptions) error { return o.SetReadBuffer(40_000) },
		func(o netOptions) error { return o.SetWriteBuffer(50_000) },
		func(o netOptions) error { return o.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true}) },
		func(o netOptions) error {
			return o.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 1500 * time.Millisecond, Interval: 3 * time.Second, Count: 4})
		},
		func(o netOptions) error {
			return o.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: -1, Interval: -1, Count: -1})
		},
		func(o netOptions) error { return o.SetKeepAlivePeriod(2500 * time.Millisecond) },
		func(o netOptions) error { return o.SetKeepAlivePeriod(0) },
		func(o netOptions) error { return o.SetKeepAlivePeriod(-1) },
		func(o netOptions) error { return o.SetKeepAliveConfig(net.KeepAliveConfig{Idle: 5 * time.Second}) },
	} {
		require.NoError(t, set(conn.(netOptions)))
		require.NoError(t, set(peer.(netOptions)))
		require.Equal(t, socketOptionsOf(t, peer), socketOptionsOf(t, conn))
	}
}

// Behaviour 9.8: MultipathTCP reports what package net reports, of connections that use it, could, and do not.
func TestMultipathIsToldAsByPackageNet(t *testing.T) {
	for _, multipath := range [][2]bool{{false, false}, {false, true}, {true, false}, {true, true}} {
		var lc net.ListenConfig
		lc.SetMultipathTCP(multipath[0])
		ln, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		var d net.Dialer
		d.SetMultipathTCP(multipath[1])
		plain, err := d.Dial("tcp", ln.Addr().String())
		require.NoError(t, err)
		accepted, err := ln.Accept()
		require.NoError(t, err)
		for _, conn := range []net.Conn{plain, accepted} {
			want, err := conn.(netOptions).MultipathTCP()
			require.NoError(t, err)
			own, err := netpoll.NewConnection(conn)
			require.NoError(t, err)
			got, err := own.(netOptions).MultipathTCP()
			require.NoError(t, err)
			require.Equal(t, want, got, "listener and dialer with multipath: %v", multipath)
			require.NoError(t, own.Close())
		}
		require.NoError(t, ln.Close())
	}
}

// Behaviour 9.3, 9.8: what AcceptTCP returns has the keepalive settings of the listener's other connections.
func TestAcceptTCPKeepsKeepAliveSettings(t *testing.T) {
	for _, config := range []net.KeepAliveConfig{
		{}, {Enable: true, Idle: 7 * time.Second, Interval: 3 * time.Second, Count: 2},
	} {
		lc := netpoll.ListenConfig{ListenConfig: net.ListenConfig{KeepAlive: -1, KeepAliveConfig: config}}
		ln, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		testnet.Dial(t, ln.Addr())
		testnet.Dial(t, ln.Addr())
		own, err := ln.Accept()
		require.NoError(t, err)
		plain, err := ln.(interface{ AcceptTCP() (*net.TCPConn, error) }).AcceptTCP()
		require.NoError(t, err)
		want, got := socketOptionsOf(t, own), socketOptionsOf(t, plain)
		for _, name := range []string{"keepalive", "idle", "interval", "count", "no delay"} {
			require.Equal(t, want[name], got[name], name)
		}
		require.NoError(t, own.Close())
		require.NoError(t, plain.Close())
		require.NoError(t, ln.Close())
	}
}
