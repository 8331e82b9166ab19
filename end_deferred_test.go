//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

import (
	"io"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

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
