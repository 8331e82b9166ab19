//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package test

import (
	"io"
	"runtime"
	"testing"

	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/stretchr/testify/require"
)

// An idle connection costs no goroutine and no buffer, also after a large record.
func TestTLSIdleConnectionsHoldNoBuffers(t *testing.T) {
	testkit.OwnProcess(t, func(t *testing.T) {
		config, client := newTLSConfigs(t)
		server := tlsEcho(t, "tcp", config)
		const conns = 100
		open := func() {
			for range conns {
				peer := dialCrypto(t, server.Addr(), client)
				data := testkit.Pattern(16 << 10)
				go func() { _, _ = peer.Write(data) }()
				_, err := io.ReadFull(peer, make([]byte, len(data)))
				require.NoError(t, err)
			}
		}
		open() // pools are filled
		goroutines, heap := runtime.NumGoroutine(), testkit.HeapInUse()
		open()
		const client16K = 24 << 10 // what the peers, of crypto/tls, keep
		require.Less(t, (testkit.HeapInUse()-heap)/conns, int64(client16K+10<<10))
		testkit.Eventually(t, func() bool { return runtime.NumGoroutine() <= goroutines+3 })
	})
}
