//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package test

// Networks that package net knows and this package does not support: they are refused, all in the same form, and nothing
// is left of the attempt. TestMain looks for descriptors.

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
)

// withoutStreams are such networks, with an address of each.
func withoutStreams(t *testing.T) map[string]string {
	file := filepath.Join(t.TempDir(), "s")
	return map[string]string{
		"udp": "127.0.0.1:0", "udp4": "127.0.0.1:0", "udp6": "[::1]:0", "ip": "127.0.0.1", "ip4": "127.0.0.1", "ip6": "::1",
		"ip4:icmp": "127.0.0.1", "ip:1": "127.0.0.1", "unixgram": file, "unixpacket": file,
	}
}

// requireUnsupported checks the form of a refusal.
func requireUnsupported(t *testing.T, err error, op, network string) {
	t.Helper()
	require.IsType(t, (*net.OpError)(nil), err)
	require.Equal(t, op, err.(*net.OpError).Op)
	require.Equal(t, network, err.(*net.OpError).Net)
	require.ErrorIs(t, err, netpoll.ErrUnsupported)
	require.ErrorIs(t, err, errors.ErrUnsupported)
	var unknown net.UnknownNetworkError
	require.ErrorAs(t, err, &unknown)
	require.Equal(t, network, string(unknown))
	require.Regexp(t, "^"+op+" "+network+"( .*)?: netpoll does not support "+network+"$", err.Error())
}

// Behaviour 6.3: a listener on a network without streams is refused, and leaves no file.
func TestListeningOnANetworkWithoutStreamsIsUnsupported(t *testing.T) {
	for network, address := range withoutStreams(t) {
		t.Run(network, func(t *testing.T) {
			ln, err := netpoll.CreateListener(network, address)
			requireUnsupported(t, err, "listen", network)
			require.True(t, ln == nil, "must be a nil interface")
			ln, err = (&netpoll.ListenConfig{ReusePort: true, Backlog: 1}).Listen(context.Background(), network, address)
			requireUnsupported(t, err, "listen", network)
			require.True(t, ln == nil, "must be a nil interface")
			_, err = os.Lstat(address)
			require.ErrorIs(t, err, os.ErrNotExist)
		})
	}
}

// Behaviour 6.3: nor is one of package net converted or served; it stays its owner's.
func TestListenersWithoutStreamsStayTheirOwners(t *testing.T) {
	for _, network := range []string{"unixgram", "unixpacket"} {
		t.Run(network, func(t *testing.T) {
			ln, err := net.Listen(network, testkit.LocalAddress(t, "unix"))
			require.NoError(t, err)
			defer ln.Close()
			converted, err := netpoll.ConvertListener(ln)
			requireUnsupported(t, err, "listen", network)
			require.True(t, converted == nil, "must be a nil interface")
			loop, err := netpoll.NewEventLoop(testnet.Echo)
			require.NoError(t, err)
			requireUnsupported(t, loop.Serve(ln), "listen", network)
			require.NoError(t, loop.Shutdown(context.Background()))
			require.NoError(t, ln.Close(), "it was closed")
		})
	}
}

// Behaviour 6.5: a dial to a network without streams says so, and one to an unknown network is a bare
// net.UnknownNetworkError.
func TestDialingANetworkWithoutStreamsIsUnsupported(t *testing.T) {
	ways := map[string]func(network, address string) (any, error){
		"DialConnection": func(network, address string) (any, error) {
			conn, err := netpoll.DialConnection(network, address, time.Second)
			return conn, err
		},
		"DialContext": func(network, address string) (any, error) {
			conn, err := netpoll.DialContext(context.Background(), network, address)
			return conn, err
		},
		"NewDialer, DialTimeout": func(network, address string) (any, error) {
			conn, err := netpoll.NewDialer().DialTimeout(network, address, 0)
			return conn, err
		},
		"NetDialer, DialContext": func(network, address string) (any, error) {
			conn, err := new(netpoll.NetDialer).DialContext(context.Background(), network, address)
			return conn, err
		},
		"NetDialer, Dial": func(network, address string) (any, error) {
			conn, err := new(netpoll.NetDialer).Dial(network, address)
			return conn, err
		},
	}
	for name, dial := range ways {
		for network, address := range withoutStreams(t) {
			if network == "unixgram" || strings.HasPrefix(network, "udp") {
				continue // there are connections of datagrams
			}
			t.Run(name+", "+network, func(t *testing.T) {
				conn, err := dial(network, address)
				requireUnsupported(t, err, "dial", network)
				require.Nil(t, conn)
			})
		}
		for _, network := range []string{"", "tcp5", "TCP", "carrier", "udp:1", "unix:", "tcp:80", "ipx"} {
			t.Run(name+", "+network, func(t *testing.T) {
				_, err := dial(network, "127.0.0.1:1")
				require.Equal(t, net.UnknownNetworkError(network), err)
			})
		}
	}
	tcp, unix := new(netpoll.TCPAddr), new(netpoll.UnixAddr)
	for network := range withoutStreams(t) {
		t.Run("by type, "+network, func(t *testing.T) {
			_, err := netpoll.DialTCP(context.Background(), network, nil, tcp)
			requireUnsupported(t, err, "dial", network)
			_, err = netpoll.DialUnix(network, nil, unix)
			requireUnsupported(t, err, "dial", network)
		})
	}
	for network, dial := range map[string]func() error{
		"unix":    func() error { return testkit.ErrorOf(netpoll.DialTCP(context.Background(), "unix", nil, tcp)) },
		"tcp":     func() error { return testkit.ErrorOf(netpoll.DialUnix("tcp", nil, unix)) },
		"carrier": func() error { return testkit.ErrorOf(netpoll.DialUnix("carrier", nil, unix)) },
	} {
		var unknown net.UnknownNetworkError
		err := dial()
		require.ErrorAs(t, err, &unknown)
		require.Equal(t, network, string(unknown))
		require.IsType(t, (*net.OpError)(nil), err)
		require.NotErrorIs(t, err, netpoll.ErrUnsupported)
	}
}
