package netpoll

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// endless is a transport whose peer sends faster than anybody can receive.
type endless struct {
	transport
	receives int
}

func (e *endless) receive(in *LinkBuffer, size int) (n int, more bool, err error) {
	e.receives++
	in.book(size)
	in.bookAck(size)
	return size, true, nil
}

func (e *endless) updateInterest() error { return nil }

// Peers that send without end delay others by one budget and one receive each, however many they are.
func TestPeersThatSendWithoutEndShareOneBudget(t *testing.T) {
	var b batch
	report := func() (receives, received int) {
		e, c := new(endless), newConnection("")
		c.transport = e
		c.onReadable(false, &b)
		defer c.in.Close()
		return e.receives, c.in.Len()
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
