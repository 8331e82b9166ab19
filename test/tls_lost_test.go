package test

// Sessions of TLS whose connection below has broken.

import (
	"crypto/tls"
	"net"
	"testing"

	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/stretchr/testify/require"
)

// Every Write on a broken connection fails, not only the one that finds it broken.
func TestTLSEveryWriteAfterAResetFails(t *testing.T) {
	overVersions(t, func(t *testing.T, config, client *tls.Config) {
		conn, peer := tlsPair(t, config, client)
		require.NoError(t, peer.NetConn().(*net.TCPConn).SetLinger(0))
		require.NoError(t, peer.NetConn().Close())
		failed := make(chan error, 1)
		write := func() {
			_, err := conn.Write(make([]byte, 100))
			failed <- err
		}
		for {
			go write()
			if testkit.Receive(t, failed) != nil {
				break
			}
		}
		go write()
		require.Error(t, testkit.Receive(t, failed), "the second Write after the reset")
	})
}
