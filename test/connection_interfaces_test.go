package test

// What every connection can be asked for by name.

import (
	"context"
	"crypto/tls"
	"net"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
)

func TestEveryStreamIsAStreamConnection(t *testing.T) {
	is := func(t *testing.T, conn any) {
		t.Helper()
		_, ok := conn.(netpoll.StreamConnection)
		require.True(t, ok, "%T", conn)
	}
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			dialed, accepted := testnet.Pair(t, network)
			is(t, dialed)
			is(t, accepted)
			_, keeps := dialed.(netpoll.DescriptorKeeper)
			require.Equal(t, network == "unix", keeps)
			seen := make(chan netpoll.Connection, 1)
			served, peer := testnet.Served(t, network, func(_ context.Context, conn netpoll.Connection) error {
				seen <- conn
				return conn.Close()
			})
			is(t, served)
			_, err := peer.Write([]byte("x"))
			require.NoError(t, err)
			is(t, testkit.Receive(t, seen, "the handler"))
		})
	}
	t.Run("net.Conn", func(t *testing.T) {
		end, other := net.Pipe()
		defer other.Close()
		conn, err := netpoll.NewConnection(end)
		require.NoError(t, err)
		defer conn.Close()
		is(t, conn)
		require.Same(t, end, conn.(netpoll.NetConner).NetConn())
	})
	t.Run("TLS", func(t *testing.T) {
		conn, _ := testnet.Pair(t, "tcp")
		secure, err := netpoll.TLSClient(conn, &tls.Config{ServerName: "test"})
		require.NoError(t, err)
		defer secure.Close()
		is(t, secure)
	})
	t.Run("datagrams", func(t *testing.T) {
		conn, err := netpoll.DialConnection("udp", "127.0.0.1:9", testkit.Timeout)
		require.NoError(t, err)
		defer conn.Close()
		_, is := conn.(netpoll.StreamConnection)
		require.False(t, is, "datagrams are no stream")
		_, is = conn.(interface {
			netpoll.Conn
			syscall.Conn
		})
		require.True(t, is, "%T", conn)
	})
}
