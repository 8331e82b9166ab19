package framing_test

// Frames over connections: a handler that never waits, and calls that do.

import (
	"context"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/framing"
	"github.com/cloudwego/netpoll/internal/testkit"
)

// dialed starts a server on a Unix socket with onRequest and returns a connection to it. Both end with the test.
func dialed(t *testing.T, onRequest netpoll.OnRequest, ops ...netpoll.Option) netpoll.Connection {
	t.Helper()
	address := filepath.Join(t.TempDir(), "s")
	ln, err := netpoll.CreateListener("unix", address)
	require.NoError(t, err)
	loop, err := netpoll.NewEventLoop(onRequest, ops...)
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- loop.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), testkit.Timeout)
		defer cancel()
		require.NoError(t, loop.Shutdown(ctx))
		require.NoError(t, <-served)
	})
	conn, err := netpoll.DialConnection("unix", address, testkit.Timeout)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// event is what a call of the handler did: the frames it took, and then its return.
type event struct {
	frame string
	err   error
	ret   bool
	left  int // bytes in the Reader when it returned
	open  bool
}

// framesTo is a handler that reports what it does.
func framesTo[F framing.Format](events chan<- event, f F) netpoll.OnRequest {
	return func(_ context.Context, conn netpoll.Connection) error {
		r := conn.Reader()
		defer r.Release()
		for {
			open := conn.IsActive()
			frame, ok, err := framing.TryNext(r, f)
			if err != nil {
				events <- event{err: err}
				return conn.Close()
			}
			if !ok {
				events <- event{ret: true, left: r.Len(), open: open}
				return nil
			}
			events <- event{frame: string(frame)}
		}
	}
}

func TestHandlerReturnsWhileAFrameIsIncomplete(t *testing.T) {
	events := make(chan event, 100)
	conn := dialed(t, framesTo(events, framing.LengthField{Size: 2}))
	for i, piece := range []string{"\x00", "\x05ab", "cd"} {
		_, err := conn.Write([]byte(piece))
		require.NoError(t, err)
		e := testkit.Receive(t, events, "the handler's return")
		require.True(t, e.ret && e.open, "%+v after piece %d", e, i)
	}
	_, err := conn.Write([]byte("e\x00\x00\x00\x01f\x00"))
	require.NoError(t, err)
	for _, want := range []string{"abcde", "", "f"} {
		require.Equal(t, event{frame: want}, testkit.Receive(t, events))
	}
	require.Equal(t, event{ret: true, left: 1, open: true}, testkit.Receive(t, events))
	require.NoError(t, conn.Close())
	testkit.Eventually(t, func() bool { // the last call, for the end inside a frame
		e := testkit.Receive(t, events)
		return e.ret && !e.open && e.left == 1
	})
}

// A frame may be longer than the read limit: a handler that consumes nothing gets more.
func TestHandlerGetsAFrameBeyondTheReadLimit(t *testing.T) {
	events := make(chan event, 10000)
	conn := dialed(t, framesTo(events, framing.Line{}), netpoll.WithReadLimit(4<<10))
	long := strings.Repeat("x", 300<<10)
	_, err := conn.Write([]byte("short\n" + long + "\n"))
	require.NoError(t, err)
	var frames []string
	for len(frames) < 2 {
		e := testkit.Receive(t, events, "a frame")
		require.NoError(t, e.err)
		if !e.ret {
			frames = append(frames, e.frame)
		}
	}
	require.Equal(t, []string{"short", long}, frames)
}

func TestHandlerTurnsAwayALongFrameBeforeItsEnd(t *testing.T) {
	events := make(chan event, 100)
	conn := dialed(t, framesTo(events, framing.LengthField{Size: 4, Limit: 1000}))
	_, err := conn.Write([]byte("\x00\x00\x03\xe9"))
	require.NoError(t, err)
	var long *framing.TooLongError
	require.ErrorAs(t, testkit.Receive(t, events).err, &long)
	_, err = conn.Reader().ReadByte()
	require.ErrorIs(t, err, netpoll.ErrConnClosed)
}

// After a timeout nothing is consumed: the next call returns the frame.
func TestNextGoesOnAfterATimeout(t *testing.T) {
	for name, format := range map[string]struct {
		first, second, want string
		next                func(r netpoll.Reader) ([]byte, error)
	}{
		"length":    {"\x00\x04ab", "cd", "abcd", next(framing.LengthField{Size: 2})},
		"varint":    {"\x80", "\x01" + strings.Repeat("x", 128), strings.Repeat("x", 128), next(framing.Varint{})},
		"line":      {"abc", "\r\n", "abc", next(framing.Line{})},
		"delimiter": {"abcEN", "D", "abc", next(framing.Delimiter{Delim: "END"})},
	} {
		t.Run(name, func(t *testing.T) {
			send := make(chan string)
			conn := dialed(t, nil, netpoll.WithOnConnect(func(ctx context.Context, conn netpoll.Connection) context.Context {
				for text := range send {
					if _, err := conn.Write([]byte(text)); err != nil {
						t.Error(err)
					}
				}
				return ctx
			}))
			defer close(send)
			send <- format.first
			require.NoError(t, conn.SetReadTimeout(testkit.Short))
			_, err := format.next(conn.Reader())
			require.ErrorIs(t, err, netpoll.ErrReadTimeout)
			send <- format.second
			require.NoError(t, conn.SetReadTimeout(testkit.Timeout))
			frame, err := format.next(conn.Reader())
			require.NoError(t, err)
			require.Equal(t, format.want, string(frame))
		})
	}
}

func next[F framing.Format](f F) func(r netpoll.Reader) ([]byte, error) {
	return func(r netpoll.Reader) ([]byte, error) { return framing.Next(r, f) }
}

func TestNextTellsWhereTheStreamEnded(t *testing.T) {
	for _, text := range []string{"", "\x02ab", "\x02a"} {
		conn := dialed(t, nil, netpoll.WithOnConnect(func(ctx context.Context, conn netpoll.Connection) context.Context {
			_, _ = conn.Write([]byte(text))
			_ = conn.Close()
			return ctx
		}))
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(testkit.Timeout)))
		format := framing.LengthField{Size: 1}
		frame, err := framing.Next(conn.Reader(), format)
		if len(text) == 3 {
			require.NoError(t, err)
			require.Equal(t, "ab", string(frame))
			_, err = framing.Next(conn.Reader(), format)
		}
		require.ErrorIs(t, err, netpoll.ErrEOF)
		var truncated *framing.TruncatedError
		if len(text) == 2 {
			require.ErrorAs(t, err, &truncated)
			require.ErrorIs(t, err, io.ErrUnexpectedEOF)
			require.Equal(t, 2, truncated.Buffered)
			require.ErrorContains(t, err, "read frame: the stream ended 2 bytes into it")
		} else {
			require.NotErrorAs(t, err, &truncated)
		}
	}
}
