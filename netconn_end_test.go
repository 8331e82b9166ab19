package netpoll

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll/internal/interleave/clock"
	"github.com/cloudwego/netpoll/internal/wait"
)

// feed notes the input that a reading goroutine brings. It has room for a few bytes.
type feed struct {
	upperLayer
	ended  atomic.Bool
	brings chan string
}

func (f *feed) wants(bool) bool         { return !f.ended.Load() }
func (f *feed) begin(pollEvent) bool    { return true }
func (f *feed) end()                    {}
func (f *feed) next() (size, lacks int) { return 10, 0 }
func (f *feed) room(most int) []byte    { return make([]byte, most) }
func (f *feed) put(int)                 {}
func (f *feed) sendUntil(int64) int64   { return wait.NoDeadline }

func (f *feed) interest() (ev pollEvent) {
	if f.wants(false) {
		ev = evRead
	}
	return ev
}

func (f *feed) fed(n int, _, _ bool, err error, _ *batch) (more bool) {
	f.ended.Store(err != nil)
	f.brings <- fmt.Sprint(n, " ", err)
	return false
}

// lastWords is a net.Conn whose last bytes come with the end.
type lastWords struct{ net.Conn }

func (lastWords) Read(p []byte) (int, error)       { return copy(p, "bye"), io.EOF }
func (lastWords) SetDeadline(time.Time) error      { return nil }
func (lastWords) SetWriteDeadline(time.Time) error { return nil }

// The end of the stream waits for a Write that may know its reason. Bytes that were received with it do not wait.
func TestInputDoesNotWaitForWhatItsEndMeans(t *testing.T) {
	to := &feed{brings: make(chan string, 3)}
	conn := new(netConn)
	conn.init(lastWords{}, to)
	_, err := conn.beginSend(clock.Now())
	require.NoError(t, err)
	require.NoError(t, conn.updateInterest())
	require.Equal(t, "3 <nil>", <-to.brings)
	require.EqualError(t, conn.endSend(0, syscall.ECONNRESET, 0), syscall.ECONNRESET.Error())
	require.Equal(t, "0 "+syscall.ECONNRESET.Error(), <-to.brings)
	require.NoError(t, conn.stop(false)) // it leaves closing to release
}

// The error that broke a Write may also have ended the input, unless it only says that the peer takes no output any
// more.
func TestEndOfStreamAfterAWriteThatFailed(t *testing.T) {
	reset := &net.OpError{Op: "write", Err: os.NewSyscallError("write", syscall.ECONNRESET)}
	for name, c := range map[string]struct{ broken, end error }{
		"no Write failed": {nil, io.EOF},
		"reset":           {reset, reset},
		"broken pipe":     {syscall.EPIPE, io.EOF},
		"without errno":   {errors.New("record too large"), io.EOF},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.end, (&netConn{broken: c.broken}).endOfStream())
		})
	}
}

// A connection that the system has given up without an answer is broken, though its error is a timeout as well.
func TestWriteThatTheSystemGaveUpIsNoWriteTimeout(t *testing.T) {
	for _, c := range []struct{ err, want, not error }{
		{os.NewSyscallError("write", syscall.ETIMEDOUT), syscall.ETIMEDOUT, ErrWriteTimeout},
		{os.ErrDeadlineExceeded, ErrWriteTimeout, syscall.ETIMEDOUT},
	} {
		conn := new(netConn)
		conn.init(lastWords{}, &feed{})
		moves, err := conn.beginSend(clock.Now())
		require.NoError(t, err)
		err = conn.endSend(0, c.err, moves)
		require.ErrorIs(t, err, c.want)
		require.NotErrorIs(t, err, c.not)
	}
}
