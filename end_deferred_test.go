package netpoll

import (
	"io"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// endsDuringSend is a transport that reports the end of the input while it sends, as a poller does beside a Flush.
type endsDuringSend struct {
	transport
	c                *connection
	told             error // what send returns
	receives, rearms int
}

func (e *endsDuringSend) start(sink) error   { return nil }
func (e *endsDuringSend) stop(bool) error    { return nil }
func (e *endsDuringSend) release(bool) error { return nil }

func (e *endsDuringSend) updateInterest() error {
	e.rearms++
	return nil
}

func (e *endsDuringSend) sendLater(sender) bool { return false }

func (e *endsDuringSend) receive(*LinkBuffer, int) (n int, more bool, err error) {
	e.receives++
	return 0, false, io.EOF
}

func (e *endsDuringSend) send(v *vector) (n int, err error) {
	if e.receives == 0 {
		for range 3 { // a peer that has reset is reported whatever one is interested in
			e.c.onPoll(evHup|evErr, nil)
		}
	}
	if e.told != nil {
		return 0, e.told
	}
	return v.Total(), nil
}

// A socket tells one call only of a reset. Whether the end that a receive finds is in order, the send beside it knows.
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
			e := &endsDuringSend{c: c, told: test.told}
			c.transport = e
			require.NoError(t, c.start(causePoller))
			_, err := c.WriteString("hello")
			require.NoError(t, err)
			require.ErrorIs(t, c.Flush(), test.told)
			require.Equal(t, 1, e.receives)
			require.LessOrEqual(t, e.rearms, 1)
			bits := c.life.load()
			require.True(t, bits.has(bitEnded))
			require.False(t, bits.has(bitSendInFlight|bitEOFHeld))
			require.Equal(t, test.errno, bits.errno())
			require.NoError(t, c.Close())
		})
	}
}
