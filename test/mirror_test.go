package test

// Connections and listeners beside those of package net: the methods, and their results, are the same.

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"syscall"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

// otherwise lists the methods of types of package net that ours have differently, or not, and why.
var otherwise = map[string]string{
	"TCPConn.SetKeepAlive": "takes seconds in cloudwego/netpoll",
}

// Behaviour 9.8: connections and listeners have every method that those of package net have, with the same signature.
func TestMethodsAreThoseOfPackageNet(t *testing.T) {
	listening := func(network string) netpoll.Listener { return testnet.Listen(t, network) }
	for _, c := range []struct{ theirs, ours any }{
		{(*net.TCPConn)(nil), (*netpoll.TCPConnection)(nil)},
		{(*net.UnixConn)(nil), (*netpoll.UnixConnection)(nil)},
		{(*net.TCPListener)(nil), listening("tcp")},
		{(*net.UnixListener)(nil), listening("unix")},
	} {
		theirs, ours := reflect.TypeOf(c.theirs), reflect.TypeOf(c.ours)
		for i := range theirs.NumMethod() {
			want := theirs.Method(i)
			name := theirs.Elem().Name() + "." + want.Name
			got, ok := ours.MethodByName(want.Name)
			switch _, excepted := otherwise[name]; {
			case excepted:
			case !ok:
				t.Errorf("%v has no %s", ours, want.Name)
			default:
				require.Equal(t, signature(want), signature(got), "%s of %v", want.Name, ours)
			}
		}
	}
}

// signature is the type of a method without its receiver.
func signature(m reflect.Method) string {
	s := ""
	for i := 1; i < m.Type.NumIn(); i++ {
		s += fmt.Sprintf("%v,", m.Type.In(i))
	}
	s += ")"
	for i := range m.Type.NumOut() {
		s += fmt.Sprintf("%v,", m.Type.Out(i))
	}
	return s
}

// options are the ones that connections share with those of package net.
var tcpOptions = []struct {
	name string
	set  func(c *netpoll.TCPConnection) error
}{
	{"SetNoDelay", func(c *netpoll.TCPConnection) error { return c.SetNoDelay(false) }},
	{"SetLinger", func(c *netpoll.TCPConnection) error { return c.SetLinger(0) }},
	{"SetKeepAlivePeriod", func(c *netpoll.TCPConnection) error { return c.SetKeepAlivePeriod(time.Minute) }},
	{"SetKeepAliveConfig", func(c *netpoll.TCPConnection) error {
		return c.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: time.Second})
	}},
	{"SetReadBuffer", func(c *netpoll.TCPConnection) error { return c.SetReadBuffer(32 << 10) }},
	{"SetWriteBuffer", func(c *netpoll.TCPConnection) error { return c.SetWriteBuffer(32 << 10) }},
	{"MultipathTCP", func(c *netpoll.TCPConnection) error {
		_, err := c.MultipathTCP()
		return err
	}},
}

// Behaviour 9.8: an option of a closed connection is an error of the form that package net gives it.
func TestOptionsOfClosedConnectionAreErrors(t *testing.T) {
	conn, _ := testnet.Dialed(t, "tcp")
	own := conn.(*netpoll.TCPConnection)
	for _, o := range tcpOptions {
		require.NoError(t, o.set(own), o.name)
	}
	require.NoError(t, conn.Close())
	for _, o := range tcpOptions {
		err := o.set(own)
		require.ErrorIs(t, err, net.ErrClosed, o.name)
		var op *net.OpError
		require.True(t, errors.As(err, &op), "%s: %T", o.name, err)
		require.Equal(t, "set", op.Op, o.name)
		require.Equal(t, "tcp", op.Net, o.name)
	}
	unix, _ := testnet.Dialed(t, "unix")
	require.NoError(t, unix.(*netpoll.UnixConnection).SetReadBuffer(32<<10))
	require.NoError(t, unix.(*netpoll.UnixConnection).SetWriteBuffer(32<<10))
	require.NoError(t, unix.Close())
	require.ErrorIs(t, unix.(*netpoll.UnixConnection).SetReadBuffer(32<<10), net.ErrClosed)
	require.ErrorIs(t, unix.(*netpoll.UnixConnection).SetWriteBuffer(32<<10), net.ErrClosed)
}

// Behaviour 9.8: a reset is what SetLinger(0) makes of Close.
func TestSetLingerMakesCloseAReset(t *testing.T) {
	conn, peer := testnet.Dialed(t, "tcp")
	require.NoError(t, conn.(*netpoll.TCPConnection).SetLinger(0))
	require.NoError(t, conn.Close())
	_, err := peer.Read(make([]byte, 1))
	require.ErrorIs(t, err, syscall.ECONNRESET)
}

// Behaviour 9.8: AcceptTCP and AcceptUnix return what package net returns.
func TestListenersAcceptForPackageNet(t *testing.T) {
	for _, converted := range []bool{false, true} {
		testkit.OverNetworks(t, func(t *testing.T, network string) {
			ln := testnet.Listen(t, network)
			if converted {
				var err error
				ln, err = netpoll.ConvertListener(testkit.Listen(t, network))
				require.NoError(t, err)
				t.Cleanup(func() { ln.Close() })
			}
			client := testnet.Dial(t, ln.Addr())
			var conn net.Conn
			var err error
			if network == "tcp" {
				conn, err = ln.(interface{ AcceptTCP() (*net.TCPConn, error) }).AcceptTCP()
			} else {
				conn, err = ln.(interface {
					AcceptUnix() (*net.UnixConn, error)
				}).AcceptUnix()
			}
			require.NoError(t, err)
			defer conn.Close()
			require.Equal(t, ln.Addr().String(), conn.LocalAddr().String())
			_, err = client.Write([]byte("hello"))
			require.NoError(t, err)
			arrives(t, conn, "hello")
			require.NoError(t, ln.(interface{ SetDeadline(time.Time) error }).SetDeadline(time.Now().Add(-1)))
			if network == "tcp" {
				_, err = ln.(interface{ AcceptTCP() (*net.TCPConn, error) }).AcceptTCP()
				require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			}
			require.NoError(t, ln.Close())
			if network == "tcp" {
				_, err = ln.(interface{ AcceptTCP() (*net.TCPConn, error) }).AcceptTCP()
				require.ErrorIs(t, err, net.ErrClosed)
			}
		})
	}
}

// Behaviour 9.8: the descriptor of a listener can be asked for its options, and for nothing else.
func TestListenersRawConnIsForControl(t *testing.T) {
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		ln := testnet.Listen(t, network)
		raw, err := ln.(syscall.Conn).SyscallConn()
		require.NoError(t, err)
		called := false
		require.NoError(t, raw.Control(func(fd uintptr) { called = int(fd) == ln.Fd() }))
		require.True(t, called)
		never := func(uintptr) bool { t.Error("called"); return true }
		require.ErrorIs(t, raw.Read(never), syscall.EINVAL)
		require.ErrorIs(t, raw.Write(never), syscall.EINVAL)
		require.NoError(t, ln.Close())
		require.ErrorIs(t, raw.Control(func(uintptr) { t.Error("called") }), net.ErrClosed)
	})
}

// Behaviour 9.8: SetUnlinkOnClose(false) leaves the file of the socket where it is.
func TestUnixListenerKeepsItsFileIfToldTo(t *testing.T) {
	for _, unlink := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "s")
		ln, err := netpoll.CreateListener("unix", path)
		require.NoError(t, err)
		ln.(interface{ SetUnlinkOnClose(bool) }).SetUnlinkOnClose(unlink)
		require.NoError(t, ln.Close())
		_, err = os.Stat(path)
		require.Equal(t, unlink, errors.Is(err, os.ErrNotExist), "%v", err)
	}
}

var (
	_ io.ReaderFrom = (*netpoll.TCPConnection)(nil)
	_ io.WriterTo   = (*netpoll.TCPConnection)(nil)
)
