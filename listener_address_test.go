//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// Which address accepted connections have.

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

// elsewhere says that a listener has another address, as if the kernel sent it connections to others' addresses.
type elsewhere struct{ *net.TCPListener }

func (elsewhere) Addr() net.Addr { return &net.TCPAddr{IP: net.IP{192, 0, 2, 1}, Port: 7} }

// Behaviour 5.13: an accepted connection has its own address, whatever the listener's is: that may lack the zone, and a
// firewall may redirect connections.
func TestAcceptedConnectionsAskTheSystemForTheirAddress(t *testing.T) {
	original, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer original.Close()
	ln, err := duplicateListener(elsewhere{original.(*net.TCPListener)}, net.KeepAliveConfig{})
	require.NoError(t, err)
	defer ln.Close()
	client, err := net.Dial("tcp", original.Addr().String())
	require.NoError(t, err)
	defer client.Close()
	server, err := ln.Accept()
	require.NoError(t, err)
	defer server.Close()
	require.Equal(t, client.RemoteAddr().String(), server.LocalAddr().String())
}
