package test

// Connections over datagrams: DialConnection for "udp" and "unixgram".

import (
	"context"
	"errors"
	"net"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
)

// dialedPackets returns a connection, and its peer, a socket of package net that is connected to it.
func dialedPackets(t *testing.T) (netpoll.Connection, *net.UDPConn) {
	t.Helper()
	listening, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	conn, err := netpoll.DialConnection("udp", listening.LocalAddr().String(), testkit.Timeout)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, listening.Close())
	peer, err := net.DialUDP("udp4", listening.LocalAddr().(*net.UDPAddr), conn.LocalAddr().(*net.UDPAddr))
	require.NoError(t, err)
	t.Cleanup(func() { peer.Close() })
	require.NoError(t, peer.SetDeadline(time.Now().Add(testkit.Timeout)))
	require.Equal(t, peer.LocalAddr(), conn.RemoteAddr())
	return conn, peer
}

func TestFlushIsOneDatagram(t *testing.T) {
	conn, peer := dialedPackets(t)
	w := conn.Writer()
	p, err := w.Malloc(3)
	require.NoError(t, err)
	copy(p, "abc")
	_, err = w.WriteString("-def-")
	require.NoError(t, err)
	long := []byte(strings.Repeat("x", 5000)) // by reference
	_, err = w.WriteBinary(long)
	require.NoError(t, err)
	require.NoError(t, w.WriteByte('!'))
	require.Equal(t, 3+5+5000+1, w.MallocLen())
	require.NoError(t, w.Flush())
	expectPacket(t, peer, "abc-def-"+string(long)+"!")
	require.NoError(t, w.Flush(), "of nothing")
	_, err = w.WriteString("pending")
	require.NoError(t, err)
	n, err := conn.Write([]byte("written"))
	require.NoError(t, err)
	require.Equal(t, 7, n)
	expectPacket(t, peer, "pending")
	expectPacket(t, peer, "written")
	n, err = conn.Write(nil)
	require.NoError(t, err)
	require.Zero(t, n)
	expectPacket(t, peer, "")
	_, err = w.Malloc(70000)
	require.NoError(t, err)
	require.ErrorIs(t, w.Flush(), syscall.EMSGSIZE)
	_, err = w.WriteString("after")
	require.NoError(t, err)
	require.NoError(t, w.Flush())
	expectPacket(t, peer, "after")
}

func TestReaderHasOneDatagram(t *testing.T) {
	conn, peer := dialedPackets(t)
	require.NoError(t, conn.SetReadTimeout(testkit.Timeout))
	send := func(list ...string) {
		for _, text := range list {
			_, err := peer.Write([]byte(text))
			require.NoError(t, err)
		}
	}
	r := conn.Reader()
	send("hello world", "second\nline", "", "third", "fourth", "fifth")
	p, err := r.Next(5)
	require.NoError(t, err)
	require.Equal(t, "hello", string(p))
	require.Equal(t, 6, r.Len())
	_, err = r.Next(7)
	require.ErrorIs(t, err, netpoll.ErrNotEnoughData)
	require.Equal(t, 6, r.Len(), "nothing was taken")
	require.NoError(t, r.Release())
	require.Zero(t, r.Len(), "the rest is dropped")
	line, err := r.Until('\n')
	require.NoError(t, err)
	require.Equal(t, "second\n", string(line))
	s, err := r.ReadString(4)
	require.NoError(t, err)
	require.Equal(t, "line", s)
	_, err = r.Next(1)
	require.ErrorIs(t, err, netpoll.ErrNotEnoughData, "an empty datagram")
	p, err = r.Peek(5)
	require.NoError(t, err)
	require.Equal(t, "third", string(p))
	require.NoError(t, r.Skip(1))
	part, err := r.Slice(2)
	require.NoError(t, err)
	room := make([]byte, 1)
	n, err := conn.Read(room)
	require.NoError(t, err)
	require.Equal(t, "r", string(room[:n]))
	b, err := r.ReadByte()
	require.NoError(t, err)
	require.Equal(t, byte('f'), b, "Read has dropped the rest of the third")
	require.NoError(t, r.Release())
	p, err = r.ReadBinary(5)
	require.NoError(t, err)
	require.Equal(t, "fifth", string(p))
	p, err = part.Next(2)
	require.NoError(t, err)
	require.Equal(t, "hi", string(p))
	require.NoError(t, part.Release())
	p, err = r.Next(0)
	require.NoError(t, err)
	require.Empty(t, p)
	send("direct")
	n, err = conn.Read(make([]byte, 3))
	require.NoError(t, err)
	require.Equal(t, 3, n)
}

func TestOnRequestComesOnceForEachDatagram(t *testing.T) {
	conn, peer := dialedPackets(t)
	got := make(chan string, 100)
	require.NoError(t, conn.SetOnRequest(func(_ context.Context, c netpoll.Connection) error {
		all, err := c.Reader().Peek(c.Reader().Len())
		got <- string(all)
		if len(all) > 1 {
			_, err = c.Reader().Next(1) // the rest is dropped
		}
		if _, err := c.Reader().Next(100000); !errors.Is(err, netpoll.ErrNotEnoughData) {
			t.Error(err)
		}
		if _, err := c.Writer().WriteString("re: " + string(all)); err != nil {
			t.Error(err)
		}
		return errors.Join(err, c.Writer().Flush())
	}))
	for _, text := range []string{"one", "two", "", strings.Repeat("long", 5000)} {
		_, err := peer.Write([]byte(text))
		require.NoError(t, err)
		require.Equal(t, text, testkit.Receive(t, got))
		expectPacket(t, peer, "re: "+text)
	}
	other := make(chan struct{}, 1)
	require.NoError(t, conn.SetOnRequest(func(context.Context, netpoll.Connection) error {
		other <- struct{}{}
		return nil
	}))
	require.NoError(t, conn.SetOnRequest(nil))
	_, err := peer.Write([]byte("x"))
	require.NoError(t, err)
	testkit.Receive(t, other)
	testkit.Eventually(t, func() bool { // when the handler has returned, and so the datagram is gone
		_, err := conn.Read(make([]byte, 1))
		return errors.Is(err, netpoll.ErrNotEnoughData)
	}, "the handler gets the datagrams")
	require.True(t, conn.IsActive())
}

func TestOnRequestEndsTheWaitOfAReader(t *testing.T) {
	conn, peer := dialedPackets(t)
	waits := make(chan error, 1)
	go func() {
		_, err := conn.Reader().Next(1)
		waits <- err
	}()
	testkit.Silent(t, testkit.Short, waits, "Next returned")
	got := make(chan struct{}, 1)
	require.NoError(t, conn.SetOnRequest(func(context.Context, netpoll.Connection) error {
		got <- struct{}{}
		return nil
	}))
	require.ErrorIs(t, testkit.Receive(t, waits), netpoll.ErrNotEnoughData)
	_, err := peer.Write([]byte("x"))
	require.NoError(t, err)
	testkit.Receive(t, got)
}

func TestPacketConnectionTimesOut(t *testing.T) {
	conn, peer := dialedPackets(t)
	requireTimeout := func(err error) {
		t.Helper()
		require.ErrorIs(t, err, netpoll.ErrReadTimeout)
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	}
	require.NoError(t, conn.SetReadTimeout(testkit.Short))
	_, err := conn.Reader().Next(1)
	requireTimeout(err)
	_, err = conn.Read(make([]byte, 1))
	requireTimeout(err)
	require.NoError(t, conn.SetReadTimeout(0))
	waits := make(chan error, 1)
	wait := func() {
		_, err := conn.Reader().Next(1)
		waits <- err
	}
	for _, change := range []func() error{
		func() error { return conn.SetReadTimeout(time.Nanosecond) },
		func() error { return conn.SetReadDeadline(time.Now()) },
		func() error { return conn.SetDeadline(time.Now().Add(-time.Hour)) },
	} {
		require.NoError(t, conn.SetReadTimeout(0))
		go wait()
		testkit.Silent(t, testkit.Calm, waits, "Next returned")
		require.NoError(t, change())
		requireTimeout(testkit.Receive(t, waits))
	}
	_, err = conn.Write([]byte("x"))
	require.ErrorIs(t, err, netpoll.ErrWriteTimeout)
	require.NoError(t, conn.SetDeadline(time.Time{}))
	require.NoError(t, conn.SetWriteTimeout(testkit.Timeout))
	_, err = conn.Write([]byte("x"))
	require.NoError(t, err)
	_, err = peer.Write([]byte("y"))
	require.NoError(t, err)
	_, err = conn.Reader().Next(1)
	require.NoError(t, err)
	require.NoError(t, conn.SetIdleTimeout(time.Second))
}

func TestPacketConnectionCloses(t *testing.T) {
	conn, _ := dialedPackets(t)
	var order []int
	rest := make(chan []int, 1)
	for i := range 3 {
		require.NoError(t, conn.AddCloseCallback(func(c netpoll.Connection) error {
			if order = append(order, i); len(order) == 3 {
				rest <- order
			}
			return nil
		}))
	}
	require.NoError(t, conn.AddCloseCallback(nil))
	closed := make(chan struct{})
	require.NoError(t, conn.AddCloseCallback(func(netpoll.Connection) error { close(closed); return nil }))
	waits := make(chan error, 1)
	go func() {
		_, err := conn.Reader().Next(1)
		waits <- err
	}()
	testkit.Silent(t, testkit.Calm, waits, "Next returned")
	_, err := conn.Reader().Next(1)
	require.ErrorIs(t, err, netpoll.ErrConcurrentAccess)
	_, err = conn.Read(make([]byte, 1))
	require.ErrorIs(t, err, netpoll.ErrConcurrentAccess)
	require.NoError(t, conn.Close())
	err = testkit.Receive(t, waits)
	require.ErrorIs(t, err, netpoll.ErrConnClosed)
	require.ErrorIs(t, err, net.ErrClosed)
	testkit.Receive(t, closed)
	require.Equal(t, []int{2, 1, 0}, testkit.Receive(t, rest))
	require.NoError(t, conn.Close())
	require.False(t, conn.IsActive())
	_, err = conn.Write([]byte("x"))
	require.ErrorIs(t, err, netpoll.ErrConnClosed)
	_, err = conn.Writer().Malloc(1)
	require.ErrorIs(t, err, netpoll.ErrConnClosed)
	require.ErrorIs(t, conn.SetDeadline(time.Now()), netpoll.ErrConnClosed)
	require.NoError(t, conn.SetOnRequest(func(context.Context, netpoll.Connection) error { return nil }))
	called := false
	require.NoError(t, conn.AddCloseCallback(func(netpoll.Connection) error { called = true; return nil }))
	require.True(t, called, "at once")
	require.Equal(t, -1, conn.(netpoll.Conn).Fd())
}

func TestPacketHandlerOfAConnectionClosesIt(t *testing.T) {
	for name, end := range map[string]func(c netpoll.Connection){
		"Close":  func(c netpoll.Connection) { c.Close() },
		"panic":  func(netpoll.Connection) { panic("boom") },
		"Goexit": func(netpoll.Connection) { runtime.Goexit() },
	} {
		t.Run(name, func(t *testing.T) {
			log := testkit.CaptureLog(t, netpoll.SetLoggerOutput)
			conn, peer := dialedPackets(t)
			running := atomic.Bool{}
			closed := make(chan bool, 1)
			require.NoError(t, conn.AddCloseCallback(func(netpoll.Connection) error {
				closed <- running.Load()
				return nil
			}))
			require.NoError(t, conn.SetOnRequest(func(_ context.Context, c netpoll.Connection) error {
				running.Store(true)
				defer running.Store(false)
				end(c)
				return nil
			}))
			_, err := peer.Write([]byte("x"))
			require.NoError(t, err)
			require.False(t, testkit.Receive(t, closed), "the callback ran beside the handler")
			require.False(t, conn.IsActive())
			_, err = conn.Write(nil)
			require.ErrorIs(t, err, netpoll.ErrConnClosed)
			if name == "Close" {
				require.Empty(t, log.String())
			} else {
				require.ErrorIs(t, err, netpoll.ErrPanic)
				require.Contains(t, log.String(), "OnRequest")
			}
		})
	}
}

func TestPacketConnectionReportsThatNobodyIsThere(t *testing.T) {
	conn, peer := dialedPackets(t)
	to := peer.LocalAddr().(*net.UDPAddr)
	require.NoError(t, peer.Close())
	require.NoError(t, conn.SetReadTimeout(testkit.Timeout))
	_, err := conn.Write([]byte("x"))
	require.NoError(t, err)
	require.True(t, conn.IsActive(), "nothing has been read")
	_, err = conn.Reader().Next(1)
	require.True(t, isRefused(err), "%v", err)
	require.False(t, conn.IsActive())
	again, err := net.DialUDP("udp4", to, conn.LocalAddr().(*net.UDPAddr))
	require.NoError(t, err)
	defer again.Close()
	_, err = again.Write([]byte("y"))
	require.NoError(t, err)
	_, err = conn.Reader().Next(1)
	require.NoError(t, err)
	require.True(t, conn.IsActive())
}

func TestDialingDatagrams(t *testing.T) {
	server := servePackets(t, packetConns["UDPConn"](t), echoPackets)
	for name, dial := range map[string]func(network, address string) (net.Conn, error){
		"DialConnection": func(n, a string) (net.Conn, error) { return netpoll.DialConnection(n, a, testkit.Timeout) },
		"DialTimeout":    func(n, a string) (net.Conn, error) { return netpoll.NewDialer().DialTimeout(n, a, 0) },
		"DialContext": func(n, a string) (net.Conn, error) {
			return netpoll.DialContext(context.Background(), n, a)
		},
		"NetDialer": func(n, a string) (net.Conn, error) { return new(netpoll.NetDialer).Dial(n, a) },
	} {
		for _, network := range []string{"udp", "udp4"} {
			conn, err := dial(network, server.addr.String())
			require.NoError(t, err, name)
			require.NoError(t, conn.SetDeadline(time.Now().Add(testkit.Timeout)))
			expectPacketEcho(t, conn, "hello")
			require.NoError(t, conn.Close())
		}
		for _, c := range [][2]string{{"udp", "127.0.0.1"}, {"udp6", "127.0.0.1:1"}, {"unixgram", "/nonexistent/s"}} {
			conn, err := dial(c[0], c[1])
			require.True(t, conn == nil, "must be a nil interface")
			var op *net.OpError
			require.ErrorAs(t, err, &op)
			require.Equal(t, "dial", op.Op)
		}
	}
}

func TestUnixDatagramConnection(t *testing.T) {
	server, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: testkit.LocalAddress(t, "unix"), Net: "unixgram"})
	if err != nil {
		return // a system without them
	}
	defer server.Close()
	local := &net.UnixAddr{Name: testkit.LocalAddress(t, "unix"), Net: "unixgram"}
	d := &netpoll.NetDialer{Dialer: net.Dialer{LocalAddr: local}}
	conn, err := d.DialConnection("unixgram", server.LocalAddr().String(), testkit.Timeout)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetReadTimeout(testkit.Timeout))
	require.Equal(t, server.LocalAddr(), conn.RemoteAddr())
	require.Equal(t, local.String(), conn.LocalAddr().String())
	for _, text := range []string{"one", "two"} {
		_, err = conn.Writer().WriteString(text)
		require.NoError(t, err)
		require.NoError(t, conn.Writer().Flush())
	}
	p := make([]byte, 100)
	n, from, err := server.ReadFromUnix(p)
	require.NoError(t, err)
	require.Equal(t, "one", string(p[:n]))
	for _, text := range []string{"1", "2"} {
		_, err = server.WriteToUnix([]byte(text), from)
		require.NoError(t, err)
	}
	got, err := conn.Reader().Next(1)
	require.NoError(t, err)
	require.Equal(t, "1", string(got))
	requests := make(chan string, 1)
	require.NoError(t, conn.SetOnRequest(func(_ context.Context, c netpoll.Connection) error {
		text, err := c.Reader().ReadString(c.Reader().Len())
		requests <- text
		return err
	}))
	require.Equal(t, "2", testkit.Receive(t, requests))
}
