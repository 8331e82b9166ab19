//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// How a connection handles the reports of its poller.

import (
	"io"
	"syscall"
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

// A report that no goroutine wants any more ends with the first one, not when the goroutine that stopped waiting
// updates the interest. An end is reported once anyway, and to answer that would only have it reported again.
func TestReportsThatNobodyWantsEnd(t *testing.T) {
	for name, test := range map[string]struct {
		closing bool
		ev      pollEvent
		updates int
	}{
		"room, and nobody sends":       {false, evWrite, 1},
		"input, while it closes":       {true, evRead, 1},
		"room, while it closes":        {true, evWrite, 1},
		"input's end, while it closes": {true, evRead | evHup, 1},
		"the end, while it closes":     {true, evHup | evErr, 0},
	} {
		t.Run(name, func(t *testing.T) {
			c := newConnection("")
			e := newEndsDuringSend(c, nil)
			require.NoError(t, c.start(causePoller))
			c.wantWrite.Store(test.closing) // as of a Flush that was waiting
			if test.closing {               // and a call is inside
				require.Equal(t, entered, c.life.enter(bitReading, phaseOpen))
				defer c.leave(bitReading)
				require.NoError(t, c.Close())
			}
			pollerReports(c, test.ev)
			require.Equal(t, test.updates, e.updates)
			require.Zero(t, e.receives)
			require.Equal(t, test.closing, c.interest() == 0, "and it must not be reported again")
		})
	}
}

// endsDuringSend is a transport that reports the end of the input while it sends, as a poller does beside a Flush.
type endsDuringSend struct {
	fakeTransport
	receives, updates int
}

// newEndsDuringSend gives c such a transport. Its send returns told.
func newEndsDuringSend(c *connection, told error) *endsDuringSend {
	e := new(endsDuringSend)
	e.onUpdate = func() { e.updates++ }
	e.onReceive = func([]byte) (n int, full bool, err error) {
		e.receives++
		return 0, false, io.EOF
	}
	e.onSend = func(v *vector) (n int, err error) {
		if e.receives == 0 {
			for range 3 { // a peer that has reset is reported whatever one is interested in
				pollerReports(c, evHup|evErr)
			}
		}
		if told != nil {
			return 0, told
		}
		return v.Total(), nil
	}
	c.transport = e
	return e
}

// A socket reports a reset to one call only. Only the send at the same time knows whether the end that a receive finds
// is orderly.
func TestEndOfInputWaitsForTheSendBesideIt(t *testing.T) {
	for name, test := range map[string]struct {
		told  error
		errno syscall.Errno
	}{
		"sent":   {nil, 0},
		"reset":  {syscall.ECONNRESET, syscall.ECONNRESET},
		"broken": {syscall.EPIPE, 0}, // as after the peer's end in order
	} {
		t.Run(name, func(t *testing.T) {
			c := newConnection("")
			e := newEndsDuringSend(c, test.told)
			require.NoError(t, c.start(causePoller))
			_, err := c.WriteString("hello")
			require.NoError(t, err)
			require.ErrorIs(t, c.Flush(), test.told)
			require.Equal(t, 1, e.receives)
			require.LessOrEqual(t, e.updates, 1)
			bits := c.life.load()
			require.True(t, bits.has(bitEnded))
			require.False(t, bits.has(bitSendInFlight|bitEOFHeld))
			require.Equal(t, test.errno, bits.errno())
			require.NoError(t, c.Close())
		})
	}
}
