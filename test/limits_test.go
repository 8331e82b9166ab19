//go:build linux

package test

// The limits that keep a server alive: unread input of one connection, connections without traffic, and the number of
// connections.

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

type readLimiter interface{ SetReadLimit(bytes int) error }

// floodUntilStopped writes until the peer takes no more for a while, and returns how much it took.
func floodUntilStopped(t testing.TB, peer net.Conn, total int) (sent int) {
	t.Helper()
	chunk := testkit.Pattern(64 << 10)
	for sent < total {
		require.NoError(t, peer.SetWriteDeadline(time.Now().Add(5*testkit.Calm)))
		n, err := peer.Write(chunk)
		sent += n
		if err != nil {
			var timeout net.Error
			require.ErrorAs(t, err, &timeout)
			require.True(t, timeout.Timeout(), "%v", err)
			return sent
		}
	}
	return sent
}

// Behaviour 6.9: unread input is limited, to 1 MiB by default; the poller stops, and starts again when the reader
// catches up; no byte is lost.
func TestUnreadInputIsBoundedByDefault(t *testing.T) {
	const total = 64 << 20
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		conn, peer := testnet.Dialed(t, network)
		sent := floodUntilStopped(t, peer, total)
		require.Less(t, sent, total, "all of it was taken although nobody reads")
		require.LessOrEqual(t, conn.Reader().Len(), 1<<20)
		require.GreaterOrEqual(t, conn.Reader().Len(), 1<<19)
		testkit.Idles(t)

		require.NoError(t, peer.SetWriteDeadline(time.Time{}))
		want := sent + 3<<20
		go func() {
			for sent < want {
				n, err := peer.Write(make([]byte, min(64<<10, want-sent)))
				if err != nil {
					t.Error(err)
					break
				}
				sent += n
			}
			peer.Close()
		}()
		got, err := io.Copy(io.Discard, conn)
		require.NoError(t, err)
		require.EqualValues(t, want, got)
	})
}

// Behaviour 6.9: the limit holds for the bytes in order, however it is set, with any size of reads.
func TestInputArrivesWholeThroughSmallReadLimits(t *testing.T) {
	data := testkit.Pattern(1 << 20)
	for _, limit := range []int{1, 100, 4096, 5000, 64 << 10} {
		for _, size := range []int{1 << 10, 100_000} {
			t.Run(fmt.Sprintf("limit=%d/read=%d", limit, size), func(t *testing.T) {
				conn, peer := testnet.Dialed(t, "tcp")
				require.NoError(t, conn.(readLimiter).SetReadLimit(limit))
				data := data[:min(len(data), limit*2000)]
				go func() {
					if _, err := peer.Write(data); err != nil {
						t.Error(err)
					}
					peer.Close()
				}()
				var got []byte
				for len(got) < len(data) {
					p, err := conn.Reader().Next(min(size, len(data)-len(got)))
					require.NoError(t, err)
					got = append(got, p...)
					require.LessOrEqual(t, conn.Reader().Len(), limit)
					require.NoError(t, conn.Reader().Release())
				}
				require.True(t, bytes.Equal(data, got))
				_, err := conn.Reader().Next(1)
				require.ErrorIs(t, err, netpoll.ErrEOF)
			})
		}
	}
}

// Behaviour 6.9: a reader that waits for more than the limit gets its bytes, and the limit holds again afterwards.
func TestReaderThatWaitsForMoreThanTheLimitGetsIt(t *testing.T) {
	t.Parallel()
	const limit, message = 16 << 10, 5 << 20
	data := testkit.Pattern(message + limit)
	calls := map[string]func(r netpoll.Reader) ([]byte, error){
		"Next":       func(r netpoll.Reader) ([]byte, error) { return r.Next(message) },
		"Peek":       func(r netpoll.Reader) ([]byte, error) { return r.Peek(message) },
		"ReadBinary": func(r netpoll.Reader) ([]byte, error) { return r.ReadBinary(message) },
		"Slice": func(r netpoll.Reader) ([]byte, error) {
			s, err := r.Slice(message)
			if err != nil {
				return nil, err
			}
			return s.Next(message)
		},
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			conn, peer := testnet.Dialed(t, "tcp")
			require.NoError(t, conn.(readLimiter).SetReadLimit(limit))
			go func() { _, _ = peer.Write(data) }() // the end of it stays unread
			testnet.Buffered(t, conn, limit)
			got, err := call(conn.Reader())
			require.NoError(t, err)
			require.True(t, bytes.Equal(data[:message], got))
		})
	}
}

// Behaviour 6.9: Until, which does not say how much it waits for, finds its delimiter beyond the limit.
func TestUntilFindsDelimiterBeyondTheLimit(t *testing.T) {
	conn, peer := testnet.Dialed(t, "tcp")
	require.NoError(t, conn.(readLimiter).SetReadLimit(4096))
	line := append(bytes.Repeat([]byte("x"), 1<<20), '\n')
	go func() { _, _ = peer.Write(line) }()
	testkit.Within(t, testkit.Timeout, func() { // and does not work its way there byte by byte
		if got, err := conn.Reader().Until('\n'); err != nil || !bytes.Equal(line, got) {
			t.Errorf("Until returned %d bytes of %d: %v", len(got), len(line), err)
		}
	})
}

// Behaviour 6.9: SetReadLimit takes effect at once: raised, or removed, it lets waiting input in.
func TestRaisedReadLimitLetsInputIn(t *testing.T) {
	conn, peer := testnet.Dialed(t, "tcp")
	limiter := conn.(readLimiter)
	require.NoError(t, limiter.SetReadLimit(4000)) // more than a read that is under way may take
	_, err := peer.Write(make([]byte, 100_000))
	require.NoError(t, err)
	testnet.Buffered(t, conn, 4000)
	testkit.Idles(t)
	require.Equal(t, 4000, conn.Reader().Len())
	require.NoError(t, limiter.SetReadLimit(50_000))
	testnet.Buffered(t, conn, 50_000)
	require.NoError(t, limiter.SetReadLimit(0))
	testnet.Buffered(t, conn, 100_000)
}

// Behaviour 6.9: the option limits each connection of a server, while its handler is busy.
func TestReadLimitOptionBoundsServedConnections(t *testing.T) {
	const limit = 8 << 10
	handling, release, most := make(chan netpoll.Connection, 1), make(chan struct{}), new(atomic.Int64)
	s := testnet.NewServer(t, "tcp", func(ctx context.Context, conn netpoll.Connection) error {
		select {
		case handling <- conn:
			<-release
		default:
		}
		most.Store(max(most.Load(), int64(conn.Reader().Len())))
		return testnet.Discard(ctx, conn)
	}, netpoll.WithReadLimit(limit))
	c := s.Dial()
	const total = 32 << 20
	sent := make(chan error, 1)
	go func() {
		_, err := c.Write(make([]byte, total))
		sent <- err
	}()
	conn := testkit.Receive(t, handling)
	testnet.Buffered(t, conn, limit)
	testkit.Idles(t)
	require.Equal(t, limit, conn.Reader().Len())
	close(release)
	require.NoError(t, testkit.Receive(t, sent))
	require.LessOrEqual(t, most.Load(), int64(limit))
}

// Behaviour 6.9: without a limit everything is taken.
func TestReadLimitOptionOfZeroMeansNone(t *testing.T) {
	const total = 16 << 20
	conns := make(chan netpoll.Connection, 1)
	s := testnet.NewServer(t, "tcp", nil, netpoll.WithReadLimit(0),
		netpoll.WithOnConnect(func(ctx context.Context, conn netpoll.Connection) context.Context {
			conns <- conn
			return ctx
		}))
	c := s.Dial()
	conn := testkit.Receive(t, conns)
	go func() { _, _ = c.Write(make([]byte, total)) }()
	testnet.Buffered(t, conn, total)
}

// Behaviour 5.5, 6.9: a handler that returns until its message is whole is a reader that waits: it gets a message that
// is larger than the limit.
func TestHandlerThatReturnsUntilMessageIsWholeGetsMoreThanTheLimit(t *testing.T) {
	const limit, message = 4096, 100_000
	data := testkit.Pattern(message)
	whole := make(chan bool, 1)
	s := testnet.NewServer(t, "tcp", func(ctx context.Context, conn netpoll.Connection) error {
		if conn.Reader().Len() < message {
			return nil // comes back with more
		}
		got, err := conn.Reader().ReadBinary(message)
		whole <- err == nil && bytes.Equal(data, got)
		return nil
	}, netpoll.WithReadLimit(limit))
	c := s.Dial()
	_, err := c.Write(data)
	require.NoError(t, err)
	require.True(t, testkit.Receive(t, whole))
}

// Behaviour 5.5, 6.9: a handler that never consumes gets its last call at the peer's close, at the limit too, and the
// connection is freed.
func TestHandlerThatConsumesNothingAtTheLimitSeesTheEnd(t *testing.T) {
	closed := make(chan struct{})
	s := testnet.NewServer(t, "tcp", func(context.Context, netpoll.Connection) error { return nil },
		netpoll.WithReadLimit(4096),
		netpoll.WithOnPrepare(func(conn netpoll.Connection) context.Context {
			_ = conn.AddCloseCallback(func(netpoll.Connection) error { close(closed); return nil })
			return context.Background()
		}))
	c := s.Dial()
	_, err := c.Write(make([]byte, 10_000))
	require.NoError(t, err)
	testkit.Idles(t)
	require.NoError(t, c.Close())
	testkit.Receive(t, closed)
}

// Behaviour 6.4: WithIdleLimit closes a connection without traffic, and only such a one.
func TestIdleLimitClosesConnectionsWithoutTraffic(t *testing.T) {
	const limit = 200 * time.Millisecond
	closed := make(chan string, 10)
	s := testnet.NewServer(t, "tcp", testnet.Echo, netpoll.WithIdleLimit(limit),
		netpoll.WithOnPrepare(func(conn netpoll.Connection) context.Context {
			peer := conn.RemoteAddr().String()
			_ = conn.AddCloseCallback(func(netpoll.Connection) error { closed <- peer; return nil })
			return context.Background()
		}))
	start := time.Now()
	silentOne, busyOne := s.Dial(), s.Dial()
	tick := time.NewTicker(limit / 10)
	defer tick.Stop()
	stop := testkit.Repeat(t, func(int) bool {
		<-tick.C
		err := testkit.RoundTrip(busyOne, "x")
		if err != nil {
			t.Errorf("the busy connection after %v: %v", time.Since(start), err)
		}
		return err == nil
	})
	require.Equal(t, silentOne.LocalAddr().String(), testkit.Receive(t, closed))
	require.GreaterOrEqual(t, time.Since(start), limit)
	_, err := silentOne.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	stop()
	require.Equal(t, busyOne.LocalAddr().String(), testkit.Receive(t, closed)) // now that it is silent, too
}

// Behaviour 6.4: a handler that runs is no idleness, however long it takes.
func TestIdleLimitSparesConnectionWithRunningHandler(t *testing.T) {
	const limit = 20 * time.Millisecond
	handling, release := make(chan struct{}), make(chan struct{})
	s := testnet.NewServer(t, "tcp", func(ctx context.Context, conn netpoll.Connection) error {
		close(handling)
		<-release
		return testnet.Echo(ctx, conn)
	}, netpoll.WithIdleLimit(limit))
	c := s.Dial()
	_, err := io.WriteString(c, "slow")
	require.NoError(t, err)
	testkit.Receive(t, handling)
	closing := make(chan error, 1)
	go func() {
		buf := make([]byte, len("slow"))
		_, err := io.ReadFull(c, buf)
		closing <- err
	}()
	testkit.Silent(t, testkit.Calm, closing, "answer or end")
	close(release)
	require.NoError(t, testkit.Receive(t, closing))
}

// OnPrepare has the last word on the idle limit, as on all that the options set.
func TestIdleLimitOfOnPrepareOverridesTheOption(t *testing.T) {
	set := make(chan netpoll.Connection, 1)
	s := testnet.NewServer(t, "tcp", testnet.Echo, netpoll.WithIdleLimit(testkit.Short),
		netpoll.WithOnPrepare(func(c netpoll.Connection) context.Context {
			_ = c.(interface{ SetIdleLimit(time.Duration) error }).SetIdleLimit(time.Hour)
			set <- c
			return nil
		}))
	client := s.Dial()
	conn := testkit.Receive(t, set)
	require.NoError(t, client.SetReadDeadline(time.Now().Add(4*testkit.Short)))
	_, err := client.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded, "it was closed")
	require.True(t, conn.IsActive())
}

// Behaviour 6.4: SetIdleLimit does the same for a dialed connection, and 0 removes it.
func TestIdleLimitOfDialedConnection(t *testing.T) {
	limiter := func(conn netpoll.Connection) interface{ SetIdleLimit(time.Duration) error } {
		return conn.(interface{ SetIdleLimit(time.Duration) error })
	}
	conn, _ := testnet.Dialed(t, "tcp")
	require.NoError(t, limiter(conn).SetIdleLimit(20*time.Millisecond))
	_, err := conn.Reader().Next(1)
	require.ErrorIs(t, err, netpoll.ErrConnClosed)

	conn, peer := testnet.Dialed(t, "tcp")
	require.NoError(t, limiter(conn).SetIdleLimit(time.Minute))
	require.NoError(t, limiter(conn).SetIdleLimit(0))
	_, err = io.WriteString(peer, "x")
	require.NoError(t, err)
	_, err = conn.Reader().Next(1)
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	require.ErrorIs(t, limiter(conn).SetIdleLimit(time.Second), net.ErrClosed)
}

// Behaviour 6.8: at WithMaxConnections accepting pauses, new connections wait, and are served when another one has
// ended.
func TestMaxConnectionsLetsNewConnectionsWait(t *testing.T) {
	const most = 3
	var now, peak atomic.Int64
	s := testnet.NewServer(t, "tcp", testnet.Echo, netpoll.WithMaxConnections(most),
		netpoll.WithOnPrepare(func(conn netpoll.Connection) context.Context {
			peak.Store(max(peak.Load(), now.Add(1))) // on the one accepting poller
			_ = conn.AddCloseCallback(func(netpoll.Connection) error { now.Add(-1); return nil })
			return context.Background()
		}))
	inside := make([]net.Conn, most)
	for i := range inside {
		inside[i] = s.Dial()
		require.NoError(t, testkit.RoundTrip(inside[i], "in"))
	}
	waiting := s.Dial() // the kernel connects it
	served := make(chan error, 1)
	go func() { served <- testkit.RoundTrip(waiting, "at last") }()
	testkit.Silent(t, testkit.Calm, served, "service beyond the limit")
	testkit.Idles(t)
	require.NoError(t, inside[0].Close())
	require.NoError(t, testkit.Receive(t, served))

	var crowd sync.WaitGroup
	for range 20 {
		c := s.Dial()
		crowd.Go(func() {
			if err := testkit.RoundTrip(c, "hello"); err != nil {
				t.Error(err)
			}
			c.Close()
		})
	}
	for _, c := range append(inside[1:], waiting) {
		require.NoError(t, c.Close())
	}
	crowd.Wait()
	require.LessOrEqual(t, peak.Load(), int64(most))
}

// Behaviour 6.1: Shutdown ends a server that is at its limit; those who wait are turned away.
func TestShutdownAtMaxConnectionsTurnsWaitingAway(t *testing.T) {
	s := testnet.NewServer(t, "tcp", testnet.Echo, netpoll.WithMaxConnections(1))
	require.NoError(t, testkit.RoundTrip(s.Dial(), "in"))
	waiting := s.Dial()
	require.NoError(t, testkit.Receive(t, shutdownIn(s.Loop)))
	_, err := waiting.Read(make([]byte, 1))
	require.Error(t, err)
}
