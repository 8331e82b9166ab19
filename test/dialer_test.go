//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package test

// This file holds the tests of dialing.

import (
	"context"
	"errors"
	"io"
	"math"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
)

// dialed is one way to dial.
type dialed func(network, address string, timeout time.Duration) (net.Conn, error)

// waysToDial are all those that take a name.
var waysToDial = map[string]dialed{
	"DialConnection": func(network, address string, timeout time.Duration) (net.Conn, error) {
		return netpoll.DialConnection(network, address, timeout)
	},
	"Dialer.DialConnection": func(network, address string, timeout time.Duration) (net.Conn, error) {
		return netpoll.NewDialer().DialConnection(network, address, timeout)
	},
	"Dialer.DialTimeout": func(network, address string, timeout time.Duration) (net.Conn, error) {
		return netpoll.NewDialer().DialTimeout(network, address, timeout)
	},
	"DialContext": func(network, address string, timeout time.Duration) (net.Conn, error) {
		ctx, cancel := dialContext(timeout)
		defer cancel()
		return netpoll.DialContext(ctx, network, address)
	},
	"NetDialer.DialContext": func(network, address string, timeout time.Duration) (net.Conn, error) {
		ctx, cancel := dialContext(timeout)
		defer cancel()
		return new(netpoll.NetDialer).DialContext(ctx, network, address)
	},
	"NetDialer.Dial": func(network, address string, timeout time.Duration) (net.Conn, error) {
		return (&netpoll.NetDialer{Dialer: net.Dialer{Timeout: max(timeout, 0)}}).Dial(network, address)
	},
}

func dialContext(timeout time.Duration) (context.Context, context.CancelFunc) {
	if timeout <= 0 {
		return context.WithCancel(context.Background())
	}
	return context.WithTimeout(context.Background(), timeout)
}

// Behaviour 1.3: dialed TCP connections are *TCPConnection, Unix ones *UnixConnection. 6.5: tcp4 is honoured.
func TestDialedConnectionsHaveTheirTypesAndAddresses(t *testing.T) {
	for name, dial := range waysToDial {
		for _, network := range []string{"tcp", "tcp4", "unix"} {
			t.Run(name+"/"+network, func(t *testing.T) {
				ln := testkit.Listen(t, network)
				conn, err := dial(network, ln.Addr().String(), testkit.Timeout)
				require.NoError(t, err)
				defer conn.Close()
				peer, err := ln.Accept()
				require.NoError(t, err)
				defer peer.Close()
				if network == "unix" {
					require.IsType(t, (*netpoll.UnixConnection)(nil), conn)
				} else {
					require.IsType(t, (*netpoll.TCPConnection)(nil), conn)
					require.Equal(t, peer.RemoteAddr().String(), conn.LocalAddr().String())
				}
				require.Equal(t, ln.Addr().String(), conn.RemoteAddr().String())
				go func() { _, _ = io.Copy(peer, peer) }()
				testkit.ExpectEcho(t, conn, "hello")
			})
		}
	}
}

// Behaviour 1.7: a failed dial returns a nil interface. 2.3, 2.5, 6.5: its error says why.
func TestFailedDialsReturnNilAndTheReason(t *testing.T) {
	gone := testkit.Listen(t, "tcp")
	require.NoError(t, gone.Close())
	isDialError := func(t *testing.T, err error) {
		var op *net.OpError
		require.ErrorAs(t, err, &op)
		require.Equal(t, "dial", op.Op)
	}
	isUnknown := func(t *testing.T, err error) {
		var unknown net.UnknownNetworkError
		require.ErrorAs(t, err, &unknown)
	}
	cases := []struct {
		network, address string
		timeout          time.Duration
		check            func(t *testing.T, err error)
	}{
		{"tcp", gone.Addr().String(), 0, func(t *testing.T, err error) {
			isDialError(t, err)
			require.ErrorIs(t, err, syscall.ECONNREFUSED)
			require.NotErrorIs(t, err, netpoll.ErrDialTimeout)
		}},
		{"tcp", gone.Addr().String(), math.MaxInt64, func(t *testing.T, err error) {
			require.ErrorIs(t, err, syscall.ECONNREFUSED)
		}},
		{"tcp", gone.Addr().String(), time.Nanosecond, func(t *testing.T, err error) {
			isDialError(t, err)
			isDialTimeout(t, err)
		}},
		{"unix", t.TempDir() + "/none", 0, func(t *testing.T, err error) {
			isDialError(t, err)
			require.ErrorIs(t, err, syscall.ENOENT)
		}},
		{"tcp", "127.0.0.1", 0, isDialError},
		{"tcp4", "[::1]:80", 0, isDialError},
		{"unix", "", 0, isDialError},
		{"ip", "127.0.0.1", 0, isUnknown},
		{"unixpacket", "x", 0, isUnknown},
		{"", "x", 0, isUnknown},
	}
	for name, dial := range waysToDial {
		for _, c := range cases {
			t.Run(name+"/"+c.network+" "+c.address, func(t *testing.T) {
				conn, err := dial(c.network, c.address, c.timeout)
				require.Error(t, err)
				c.check(t, err)
				require.True(t, conn == nil, "must be a nil interface")
			})
		}
	}
}

func isDialTimeout(t *testing.T, err error) {
	t.Helper()
	require.ErrorIs(t, err, netpoll.ErrDialTimeout)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.ErrorIs(t, err, context.DeadlineExceeded, "as from package net")
	require.Contains(t, err.Error(), "i/o timeout")
	var timeout net.Error
	require.ErrorAs(t, err, &timeout)
	require.True(t, timeout.Timeout())
}

// Behaviour 2.3: a dial timeout Is ErrDialTimeout. 6.5: a dial that was given up leaves nothing behind, which TestMain
// checks at the end.
func TestDialTimesOutWhileConnecting(t *testing.T) {
	ln := fullListener(t)
	conn, err := netpoll.DialConnection("tcp", ln, testkit.Short)
	isDialTimeout(t, err)
	require.True(t, conn == nil)
}

// fullListener returns an address that neither accepts nor refuses.
func fullListener(t *testing.T) string {
	t.Helper()
	lc := netpoll.ListenConfig{Backlog: 1}
	lc.SetMultipathTCP(false)
	ln, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { ln.Close() })
	for { // until the backlog takes no more
		conn, err := net.DialTimeout("tcp", ln.Addr().String(), testkit.Calm)
		if err != nil {
			return ln.Addr().String()
		}
		t.Cleanup(func() { conn.Close() })
	}
}

func TestDialEndsWithItsContext(t *testing.T) {
	address := fullListener(t)
	ctx, cancel := context.WithCancel(context.Background())
	failed := make(chan error, 1)
	go func() {
		_, err := netpoll.DialContext(ctx, "tcp", address)
		failed <- err
	}()
	cancel()
	err := testkit.Receive(t, failed)
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, netpoll.ErrDialTimeout)
}

func TestConnectionOutlivesTheContextOfItsDial(t *testing.T) {
	addr := testnet.NewServer(t, "tcp", testnet.Echo).Addr()
	ctx, cancel := context.WithCancel(context.Background())
	conn, err := netpoll.DialContext(ctx, "tcp", addr.String())
	require.NoError(t, err)
	defer conn.Close()
	cancel()
	testkit.ExpectEcho(t, conn, "hello")
}

// A full backlog of a Unix socket is not a timeout, though its errno says so of itself.
func TestFullUnixBacklogIsNotADialTimeout(t *testing.T) {
	lc := netpoll.ListenConfig{Backlog: 1}
	ln, err := lc.Listen(context.Background(), "unix", testkit.LocalAddress(t, "unix"))
	require.NoError(t, err)
	defer ln.Close()
	for err == nil {
		var conn net.Conn
		if conn, err = netpoll.DialConnection("unix", ln.Addr().String(), testkit.Timeout); err == nil {
			defer conn.Close()
		}
	}
	require.ErrorIs(t, err, syscall.EAGAIN)
	require.NotErrorIs(t, err, netpoll.ErrDialTimeout)
}

// Behaviour 6.5: a server that closes right after accept still is a successful dial whose bytes can be read.
func TestDialToAServerThatClosesAtOnce(t *testing.T) {
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		ln := testkit.Listen(t, network)
		const dials = 200
		go func() {
			for range dials {
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				_, _ = conn.Write([]byte("bye"))
				conn.Close()
			}
		}()
		for range dials {
			conn, err := netpoll.DialConnection(network, ln.Addr().String(), testkit.Timeout)
			require.NoError(t, err)
			require.NoError(t, conn.SetReadTimeout(testkit.Timeout))
			got, err := io.ReadAll(conn)
			require.NoError(t, err)
			require.Equal(t, "bye", string(got))
			require.NoError(t, conn.Close())
		}
	})
}

// Behaviour 5.12: TCP_NODELAY and keepalive are on; the options of net.Dialer have their effect. 5.13: close-on-exec.
func TestDialedSocketsHaveTheOptionsOfTheirDialer(t *testing.T) {
	addr := testnet.NewServer(t, "tcp", testnet.Echo).Addr()
	for name, c := range map[string]struct {
		dialer    net.Dialer
		keepAlive int
	}{
		"default": {net.Dialer{}, 1},
		"off":     {net.Dialer{KeepAlive: -1}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			dialer := netpoll.NetDialer{Dialer: c.dialer}
			conn, err := dialer.DialConnection("tcp", addr.String(), testkit.Timeout)
			require.NoError(t, err)
			defer conn.Close()
			fd := conn.(netpoll.Conn).Fd()
			require.Equal(t, 1, socketOption(t, fd, unix.IPPROTO_TCP, unix.TCP_NODELAY))
			require.Equal(t, c.keepAlive, socketOption(t, fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE))
			requireCloseOnExec(t, fd)
			flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
			require.NoError(t, err)
			require.NotZero(t, flags&unix.O_NONBLOCK)
		})
	}
}

func TestDialTCP(t *testing.T) {
	addr := testnet.NewServer(t, "tcp", testnet.Echo).Addr()
	raddr, err := netpoll.ResolveTCPAddr("tcp", addr.String())
	require.NoError(t, err)
	own := "127.0.0.2"
	if runtime.GOOS != "linux" {
		own = "127.0.0.1" // the only address that loopback has there
	}
	laddr := &netpoll.TCPAddr{TCPAddr: net.TCPAddr{IP: net.ParseIP(own)}}

	conn, err := netpoll.DialTCP(context.Background(), "tcp", laddr, raddr)
	require.NoError(t, err)
	defer conn.Close()
	require.Equal(t, own, conn.LocalAddr().(*net.TCPAddr).IP.String())
	require.Equal(t, addr.String(), conn.RemoteAddr().String())
	testkit.ExpectEcho(t, conn, "hello")

	local := &netpoll.TCPAddr{TCPAddr: net.TCPAddr{Port: raddr.Port}} // no IP: this system
	var never context.Context
	conn, err = netpoll.DialTCP(never, "tcp4", nil, local)
	require.NoError(t, err)
	defer conn.Close()
	testkit.ExpectEcho(t, conn, "hello")
}

func TestDialUnix(t *testing.T) {
	addr := testnet.NewServer(t, "unix", testnet.Echo).Addr()
	raddr, err := netpoll.ResolveUnixAddr("unix", addr.String())
	require.NoError(t, err)
	conn, err := netpoll.DialUnix("unix", nil, raddr)
	require.NoError(t, err)
	defer conn.Close()
	testkit.ExpectEcho(t, conn, "hello")

	laddr := &netpoll.UnixAddr{UnixAddr: net.UnixAddr{Name: testkit.LocalAddress(t, "unix")}}
	named, err := netpoll.DialUnix("unix", laddr, raddr)
	require.NoError(t, err)
	defer named.Close()
	require.Equal(t, laddr.Name, named.LocalAddr().String())
	testkit.ExpectEcho(t, named, "hello")
}

func TestTypedDialsRefuseWrongArguments(t *testing.T) {
	tcp := &netpoll.TCPAddr{TCPAddr: net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}}
	unixAddr := &netpoll.UnixAddr{UnixAddr: net.UnixAddr{Name: "/none", Net: "unix"}}
	for name, dial := range map[string]func() error{
		"tcp: nil address":  func() error { _, err := netpoll.DialTCP(context.Background(), "tcp", nil, nil); return err },
		"tcp: udp":          func() error { _, err := netpoll.DialTCP(context.Background(), "udp", nil, tcp); return err },
		"tcp: unix":         func() error { _, err := netpoll.DialTCP(context.Background(), "unix", tcp, nil); return err },
		"unix: nil address": func() error { _, err := netpoll.DialUnix("unix", unixAddr, nil); return err },
		"unix: unixgram":    func() error { _, err := netpoll.DialUnix("unixgram", nil, unixAddr); return err },
		"unix: tcp":         func() error { _, err := netpoll.DialUnix("tcp", nil, nil); return err },
		"unix: no file":     func() error { _, err := netpoll.DialUnix("unix", nil, unixAddr); return err },
		"unix: no name":     func() error { _, err := netpoll.DialUnix("unix", nil, new(netpoll.UnixAddr)); return err },
	} {
		t.Run(name, func(t *testing.T) {
			var op *net.OpError
			err := dial()
			require.ErrorAs(t, err, &op)
			require.Equal(t, "dial", op.Op)
			require.NotEmpty(t, err.Error())
		})
	}
	_, err := netpoll.ResolveTCPAddr("udp", "127.0.0.1:1")
	require.Error(t, err)
	_, err = netpoll.ResolveUnixAddr("tcp", "x")
	require.Error(t, err)
}

// Eight dialers at once: every connection carries its own bytes, and no descriptor is closed for another.
func TestDialsAtOnceDoNotDisturbEachOther(t *testing.T) {
	addr := testnet.NewServer(t, "tcp", testnet.Echo).Addr()
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for range 50 {
				if err := dialAndEcho(addr.String(), byte(i)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
}

func dialAndEcho(address string, id byte) error {
	conn, err := netpoll.DialConnection("tcp", address, testkit.Timeout)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(testkit.Timeout)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte{id}); err != nil {
		return err
	}
	got := make([]byte, 1)
	if _, err := io.ReadFull(conn, got); err != nil {
		return err
	}
	if got[0] != id {
		return errors.New("foreign byte")
	}
	return nil
}
