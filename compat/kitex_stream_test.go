package compat

// Kitex streams over this library. A server handles all streams of a connection in one call of OnRequest, which lasts
// as long as the connection. Kitex ends that call from OnDisconnect (behaviour 5.2, 5.4).

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloudwego/kitex/client/genericclient"
	"github.com/stretchr/testify/require"
)

func TestKitexStreamsCarryMessagesBothWays(t *testing.T) {
	overStreams(t, func(t *testing.T, kind streamKind) {
		s := startStreams(t, kind)
		c, _ := newStreamClient(t, s, kind)
		for i, size := range []int{0, 1, 4096, 4097, 300_000} {
			require.NoError(t, talk(c, text(i, size), 3), "%d bytes", size)
		}
	})
}

func TestKitexStreamsToTheServerArriveWhole(t *testing.T) {
	overStreams(t, func(t *testing.T, kind streamKind) {
		s := startStreams(t, kind)
		c, _ := newStreamClient(t, s, kind)
		ctx := timeLimit(t)
		stream, err := c.ClientStreaming(ctx, "Join")
		require.NoError(t, err)
		var want strings.Builder
		for i := range 200 {
			part := text(i, i*7)
			want.WriteString(part)
			require.NoError(t, send(ctx, stream, part))
		}
		answer, err := stream.CloseAndRecv(ctx)
		require.NoError(t, err)
		got, err := decode(answer)
		require.NoError(t, err)
		require.True(t, want.String() == got, "%d bytes arrived, or others", len(got))
	})
}

func TestKitexStreamsToAClientThatIsSlowArriveWhole(t *testing.T) {
	const messages, size = 100, 20_000
	overStreams(t, func(t *testing.T, kind streamKind) {
		s := startStreams(t, kind)
		c, _ := newStreamClient(t, s, kind)
		ctx := timeLimit(t)
		stream, err := c.ServerStreaming(ctx, "Repeat", request(fmt.Sprintf("%d:%s", messages, text(1, size))))
		require.NoError(t, err)
		require.NoError(t, talk(c, "meanwhile", 20)) // the test does not read the other stream meanwhile
		for i := range messages {
			got, err := recv(ctx, stream)
			require.NoError(t, err)
			require.True(t, strconv.Itoa(i)+text(1, size) == got, "message %d", i)
		}
		_, err = stream.Recv(ctx)
		require.ErrorIs(t, err, io.EOF)
	})
}

func TestKitexCarriesManyStreamsAtOnce(t *testing.T) {
	const callers, streams, messages = 16, 3, 5
	overStreams(t, func(t *testing.T, kind streamKind) {
		s := startStreams(t, kind)
		c, l := newStreamClient(t, s, kind)
		var wg sync.WaitGroup
		for caller := range callers {
			wg.Go(func() {
				for i := range streams {
					if err := talk(c, text(caller, 1+i*1500), messages); err != nil {
						t.Errorf("caller %d, stream %d: %v", caller, i, err)
						return
					}
				}
			})
		}
		wg.Wait()
		switch kind.name {
		case longStreams.name:
			require.Less(t, l.carried(), callers*streams) // a connection returns to the pool shortly after its stream
		case shortStreams.name:
			require.Equal(t, callers*streams, l.carried())
		}
	})
}

// Behaviour 5.7: a panic of a handler fails its own stream and nothing else.
func TestKitexSurvivesAPanicInAStreamHandler(t *testing.T) {
	overStreams(t, func(t *testing.T, kind streamKind) {
		s := startStreams(t, kind)
		c, _ := newStreamClient(t, s, kind)
		for range 3 {
			ctx := timeLimit(t)
			stream, err := c.BidirectionalStreaming(ctx, "Boom")
			require.NoError(t, err)
			require.NoError(t, send(ctx, stream, "x"))
			_, err = recv(ctx, stream)
			require.ErrorContains(t, err, "boom")
			require.NoError(t, talk(c, "still there", 1))
		}
	})
}

// hold opens a stream and returns when the handler holds it.
func hold(
	t *testing.T, ctx context.Context, c genericclient.Client, s *streamServer,
) genericclient.BidiStreamingClient {
	t.Helper()
	stream, err := c.BidirectionalStreaming(ctx, "Hold")
	require.NoError(t, err)
	require.NoError(t, send(ctx, stream, "held"))
	got, err := recv(ctx, stream)
	require.NoError(t, err)
	require.Equal(t, "held", got)
	await(t, s.held, "the stream")
	return stream
}

// Behaviour 5.2: OnDisconnect is called while OnRequest runs. In it Kitex cancels the contexts of all streams.
func TestKitexStreamsEndWithTheirConnection(t *testing.T) {
	const streams = 5
	overStreams(t, func(t *testing.T, kind streamKind) {
		s := startStreams(t, kind)
		c, l := newStreamClient(t, s, kind)
		ctx := timeLimit(t)
		var open []genericclient.BidiStreamingClient
		for range streams {
			open = append(open, hold(t, ctx, c, s))
		}
		l.cut()
		for i, stream := range open {
			require.Error(t, await(t, s.ended, "the handler's end"))
			_, err := recv(ctx, stream)
			require.Error(t, err, "stream %d", i)
			require.NotEqual(t, io.EOF, err, "stream %d: the loss of the connection looks like its end", i)
		}
		require.NoError(t, retry(5, func() error { return talk(c, "again", 1) }))
	})
}

func TestKitexStreamEndsWithItsContext(t *testing.T) {
	for _, c := range []struct {
		name string
		ctx  func(context.Context) (context.Context, context.CancelFunc)
		end  bool // the test cancels the context; otherwise its deadline passes
	}{
		{"cancelled", context.WithCancel, true},
		{"past its deadline", func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 200*time.Millisecond)
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			overStreams(t, func(t *testing.T, kind streamKind) {
				s := startStreams(t, kind)
				client, _ := newStreamClient(t, s, kind)
				ctx, cancel := c.ctx(timeLimit(t))
				defer cancel()
				stream := hold(t, ctx, client, s)
				if c.end {
					cancel()
				}
				_, err := recv(ctx, stream)
				require.Error(t, err)
				require.Error(t, await(t, s.ended, "the handler's end"))
				require.NoError(t, talk(client, "another stream", 1))
			})
		})
	}
}

// Behaviour 6.1: a connection with a stream is busy. Stop frees the port, waits for the connection, and the stream is
// still served.
func TestKitexStopWaitsForARunningStream(t *testing.T) {
	overStreams(t, func(t *testing.T, kind streamKind) {
		s := startStreams(t, kind)
		c, l := newStreamClient(t, s, kind)
		ctx := timeLimit(t)
		stream := hold(t, ctx, c, s)
		stopped := make(chan error, 1)
		go func() { stopped <- s.stop() }()
		requireRefused(t, s.addr)
		require.Empty(t, stopped, "Stop did not wait")
		close(s.release)
		got, err := recv(ctx, stream)
		require.NoError(t, err)
		require.Equal(t, "held", got)
		_, err = recv(ctx, stream)
		require.ErrorIs(t, err, io.EOF)
		require.NoError(t, stream.CloseSend(ctx))
		l.end() // Kitex's clients keep the connection open, and the server would wait for all of its exit wait time
		require.NoError(t, await(t, stopped, "the end of Stop"))
	})
}

// timeLimit returns a context that limits the time of the whole test.
func timeLimit(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeoutCause(context.Background(), patience, errors.New("the test took too long"))
	t.Cleanup(cancel)
	return ctx
}
