//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package test

// Type assertions that programs make on the values of this package: the methods behind a Connection, the concrete
// types, and nil where there is none.

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

// wholeConnection is all that programs find behind a Connection by a type assertion.
type wholeConnection interface {
	netpoll.Connection
	netpoll.Reader
	netpoll.Writer
	Fd() int
	Detach() error
	SetKeepAlive(seconds int) error
	SetOnConnect(netpoll.OnConnect) error
	SetOnDisconnect(netpoll.OnDisconnect) error
}

// connectionKinds makes a connection of each kind there is.
var connectionKinds = map[string]func(t *testing.T) netpoll.Connection{
	"dialed tcp":    func(t *testing.T) netpoll.Connection { conn, _ := testnet.Dialed(t, "tcp"); return conn },
	"dialed unix":   func(t *testing.T) netpoll.Connection { conn, _ := testnet.Dialed(t, "unix"); return conn },
	"accepted tcp":  func(t *testing.T) netpoll.Connection { _, conn := testnet.Pair(t, "tcp"); return conn },
	"accepted unix": func(t *testing.T) netpoll.Connection { _, conn := testnet.Pair(t, "unix"); return conn },
	"served tcp":    func(t *testing.T) netpoll.Connection { conn, _ := testnet.Served(t, "tcp", nil); return conn },
	"served unix":   func(t *testing.T) netpoll.Connection { conn, _ := testnet.Served(t, "unix", nil); return conn },
	"descriptor":    func(t *testing.T) netpoll.Connection { conn, _ := descriptorPair(t); return conn },
}

// descriptorPair returns a connection made from a descriptor without an address, and its peer.
func descriptorPair(t *testing.T) (conn netpoll.Connection, peer *os.File) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	require.NoError(t, err)
	for _, fd := range fds {
		require.NoError(t, syscall.SetNonblock(fd, true))
	}
	conn, err = netpoll.NewFDConnection(fds[0])
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	peer = os.NewFile(uintptr(fds[1]), "peer")
	t.Cleanup(func() { peer.Close() })
	return conn, peer
}

// Behaviour 1.2: the value behind every Connection has all methods itself.
func TestEveryConnectionHasReaderAndWriterMethodsItself(t *testing.T) {
	for name, connect := range connectionKinds {
		t.Run(name, func(t *testing.T) {
			conn := connect(t)
			whole, ok := conn.(wholeConnection)
			require.True(t, ok, "%T lacks a method", conn)
			require.GreaterOrEqual(t, whole.Fd(), 0)
			_, err := whole.WriteString("through the value itself")
			require.NoError(t, err)
			require.NoError(t, whole.Flush())
			require.Zero(t, whole.Len())
		})
	}
}

// Behaviour 1.2: the same value is what callbacks get.
func TestCallbacksGetTheConnectionWithAllMethods(t *testing.T) {
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		type step struct {
			name string
			conn netpoll.Connection
		}
		steps := make(chan step, 4)
		see := func(name string, conn netpoll.Connection) {
			steps <- step{name, conn}
		}
		addr := testnet.NewServer(t, network, func(_ context.Context, conn netpoll.Connection) error {
			see("OnRequest", conn)
			return conn.Reader().Skip(conn.Reader().Len())
		}, netpoll.WithOnPrepare(func(conn netpoll.Connection) context.Context {
			see("OnPrepare", conn)
			return context.Background()
		}), netpoll.WithOnConnect(func(ctx context.Context, conn netpoll.Connection) context.Context {
			see("OnConnect", conn)
			return ctx
		}), netpoll.WithOnDisconnect(func(_ context.Context, conn netpoll.Connection) {
			see("OnDisconnect", conn)
		})).Addr()
		peer, err := net.Dial(addr.Network(), addr.String())
		require.NoError(t, err)
		defer peer.Close()
		var first netpoll.Connection
		for _, want := range []string{"OnPrepare", "OnConnect", "OnRequest", "OnDisconnect"} {
			switch want {
			case "OnRequest":
				testkit.Send(t, peer, "x")
			case "OnDisconnect":
				require.NoError(t, peer.Close())
			}
			got := testkit.Receive(t, steps)
			require.Equal(t, want, got.name)
			require.Implements(t, (*wholeConnection)(nil), got.conn)
			if first == nil {
				first = got.conn
			}
			require.Same(t, first, got.conn, "in %s", got.name)
		}
	})
}

// Behaviour 1.3: dialed TCP connections are *TCPConnection, Unix ones *UnixConnection.
func TestDialedConnectionHasTheTypeOfItsNetwork(t *testing.T) {
	tcp, _ := testnet.Dialed(t, "tcp")
	require.IsType(t, (*netpoll.TCPConnection)(nil), tcp)
	require.IsType(t, (*net.TCPAddr)(nil), tcp.LocalAddr())
	require.IsType(t, (*net.TCPAddr)(nil), tcp.RemoteAddr())
	unix, _ := testnet.Dialed(t, "unix")
	require.IsType(t, (*netpoll.UnixConnection)(nil), unix)
	require.IsType(t, (*net.UnixAddr)(nil), unix.RemoteAddr())
}

// Behaviour 1.3: accepted connections have the same types as dialed ones, however they were accepted.
func TestAcceptedConnectionHasTheTypeOfItsNetwork(t *testing.T) {
	for network, want := range map[string]any{
		"tcp": (*netpoll.TCPConnection)(nil), "unix": (*netpoll.UnixConnection)(nil),
	} {
		_, accepted := testnet.Pair(t, network)
		require.IsType(t, want, accepted)
		served, _ := testnet.Served(t, network, nil)
		require.IsType(t, want, served)
	}
}

// Behaviour 1.4: Slice returns a Reader that is also an io.Closer.
func TestSliceIsCloser(t *testing.T) {
	conn, peer := testnet.Dialed(t, "tcp")
	testkit.Send(t, peer, "0123456789")
	slice, err := conn.Reader().Slice(4)
	require.NoError(t, err)
	closer, ok := slice.(io.Closer)
	require.True(t, ok, "%T is no io.Closer", slice)
	require.NoError(t, closer.Close())
	rest, err := conn.Reader().ReadString(6)
	require.NoError(t, err)
	require.Equal(t, "456789", rest, "the connection reads on after a slice of it was closed")
}

// Behaviour 1.6: values from NewReader and the like go through NewIOReader and the like, and back.
func TestAdaptersCanBeNestedBothWays(t *testing.T) {
	const text = "through two adapters"
	t.Run("reader", func(t *testing.T) {
		got, err := io.ReadAll(netpoll.NewIOReader(netpoll.NewReader(strings.NewReader(text))))
		require.NoError(t, err)
		require.Equal(t, text, string(got))
		lb := netpoll.NewLinkBuffer()
		_, err = lb.WriteString(text)
		require.NoError(t, err)
		require.NoError(t, lb.Flush())
		s, err := netpoll.NewReader(netpoll.NewIOReader(lb)).ReadString(len(text))
		require.NoError(t, err)
		require.Equal(t, text, s)
	})
	t.Run("writer", func(t *testing.T) {
		var out bytes.Buffer
		_, err := io.WriteString(netpoll.NewIOWriter(netpoll.NewWriter(&out)), text)
		require.NoError(t, err)
		require.Equal(t, text, out.String())
		lb := netpoll.NewLinkBuffer()
		w := netpoll.NewWriter(netpoll.NewIOWriter(lb))
		_, err = w.WriteString(text)
		require.NoError(t, err)
		require.NoError(t, w.Flush())
		require.Equal(t, text, string(lb.Bytes()))
	})
	t.Run("both", func(t *testing.T) {
		var loop bytes.Buffer
		rw := netpoll.NewReadWriter(netpoll.NewIOReadWriter(netpoll.NewReadWriter(&loop)))
		_, err := rw.WriteString(text)
		require.NoError(t, err)
		require.NoError(t, rw.Flush())
		s, err := rw.ReadString(len(text))
		require.NoError(t, err)
		require.Equal(t, text, s)
	})
}

// Behaviour 1.7: a failed dial returns a nil interface.
func TestFailedDialReturnsNilInterface(t *testing.T) {
	for _, c := range []struct{ name, network, address string }{
		{"refused", "tcp", refusedAddress(t)},
		{"no such socket", "unix", testkit.LocalAddress(t, "unix")},
		{"unknown network", "carrier pigeon", "127.0.0.1:1"},
		{"no port", "tcp", "127.0.0.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			// require.Nil would be content with a nil pointer in the interface.
			conn, err := netpoll.DialConnection(c.network, c.address, testkit.Timeout)
			require.Error(t, err)
			require.True(t, conn == nil, "DialConnection returned a %T", conn)
			conn, err = netpoll.NewDialer().DialConnection(c.network, c.address, testkit.Timeout)
			require.Error(t, err)
			require.True(t, conn == nil, "Dialer.DialConnection returned a %T", conn)
			plain, err := netpoll.NewDialer().DialTimeout(c.network, c.address, testkit.Timeout)
			require.Error(t, err)
			require.True(t, plain == nil, "Dialer.DialTimeout returned a %T", plain)
		})
	}
}
