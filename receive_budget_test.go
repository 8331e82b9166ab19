//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Peers that send without end delay others by one budget and one receive each, however many they are.
func TestPeersThatSendWithoutEndShareOneBudget(t *testing.T) {
	var b batch
	report := func() (receives, received int) {
		c := newConnection("")
		endless := &fakeTransport{onReceive: func(p []byte) (n int, full bool, err error) {
			receives++
			return len(p), true, nil
		}}
		c.transport = endless
		receiveAll(endless, c, false, &b)
		defer c.in.Close()
		return receives, c.in.Len()
	}
	for range 2 { // batches
		b.received = 0
		receives, received := report()
		require.Greater(t, receives, 1)
		require.GreaterOrEqual(t, received, receiveBudget)
		require.Less(t, received, receiveBudget+maxReceive)
		for range 10 {
			receives, _ = report()
			require.Equal(t, 1, receives, "the budget was used up by another one")
		}
	}
}
