//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package test

// Sending: Flush and Write when the socket is full, their timeouts, what is left afterwards, and several goroutines.
// Use after Close is in connection_write_closed_test.go.

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

// muchOutput is more than the socket of a narrowPair takes.
const muchOutput = 12 << 20

// narrowPair is a rawPair whose peer takes little at a time.
func narrowPair(t testing.TB, network string) (conn netpoll.Connection, peer net.Conn) {
	t.Helper()
	conn, peer = testnet.Dialed(t, network)
	require.NoError(t, peer.(interface{ SetReadBuffer(bytes int) error }).SetReadBuffer(32<<10))
	return conn, peer
}

// drain reads the bytes that the kernel has for the peer until no more arrive for a while.
func drain(t *testing.T, peer net.Conn) []byte {
	t.Helper()
	var got bytes.Buffer
	buf := make([]byte, 256<<10)
	for {
		require.NoError(t, peer.SetReadDeadline(time.Now().Add(2*testkit.Calm)))
		n, err := peer.Read(buf)
		got.Write(buf[:n])
		if err != nil {
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			return got.Bytes()
		}
	}
}

// queue writes p without sending it.
func queue(t *testing.T, conn netpoll.Connection, p []byte) {
	t.Helper()
	n, err := conn.Writer().WriteBinary(p)
	require.NoError(t, err)
	require.Equal(t, len(p), n)
}

// sendUntilTimeout flushes p into a peer that does not read.
func sendUntilTimeout(t *testing.T, conn netpoll.Connection, p []byte) {
	t.Helper()
	require.NoError(t, conn.SetWriteTimeout(testkit.Short))
	queue(t, conn, p)
	start := time.Now()
	requireTimeout(t, conn.Writer().Flush(), netpoll.ErrWriteTimeout)
	require.GreaterOrEqual(t, time.Since(start), testkit.Short)
	require.NoError(t, conn.SetWriteTimeout(0))
}

// Behaviour 4.4: Flush waits while the socket is full and returns nil when every byte is in the kernel.
func TestFlushWaitsUntilEveryByteIsInTheKernel(t *testing.T) {
	t.Parallel()
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		conn, peer := narrowPair(t, network)
		data := testkit.Pattern(muchOutput)
		queue(t, conn, data)
		result := testkit.Blocked(t, conn.Writer().Flush)
		stillWaiting(t, result)
		arrives(t, peer, string(data))
		require.NoError(t, testkit.Receive(t, result))
		nothingArrives(t, peer)
	})
}

// Behaviour 4.4: every byte of a Flush that returned nil arrives, also when Close follows at once.
func TestCloseAfterFlushLosesNothing(t *testing.T) {
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		conn, peer := testnet.Dialed(t, network)
		data := testkit.Pattern(50_000)
		for i := 0; i < len(data); i += 1000 {
			queue(t, conn, data[i:i+1000])
			require.NoError(t, conn.Writer().Flush())
		}
		require.NoError(t, conn.Close())
		got := drainToEnd(t, peer)
		require.True(t, bytes.Equal(data, got), "%d of %d bytes arrived", len(got), len(data))
	})
}

// Behaviour 4.4: after a timeout the unsent rest stays queued in order, and the next Flush sends it first.
func TestFlushAfterWriteTimeoutSendsRestFirst(t *testing.T) {
	t.Parallel()
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		conn, peer := narrowPair(t, network)
		data := testkit.Pattern(muchOutput)
		sendUntilTimeout(t, conn, data)
		queue(t, conn, []byte("behind the rest"))
		result := make(chan error, 1)
		go func() { result <- conn.Writer().Flush() }()
		arrives(t, peer, string(data)+"behind the rest")
		require.NoError(t, testkit.Receive(t, result))
	})
}

// Behaviour 4.4: after a timeout nothing is sent before the next Flush.
func TestNothingIsSentAfterWriteTimeoutWithoutFlush(t *testing.T) {
	t.Parallel()
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		conn, peer := narrowPair(t, network)
		data := testkit.Pattern(muchOutput)
		sendUntilTimeout(t, conn, data)
		first := drain(t, peer)
		require.Less(t, len(first), len(data), "bytes that arrived although nobody flushed again")
		require.True(t, bytes.Equal(data[:len(first)], first), "what arrived is not the beginning")
		nothingArrives(t, peer)
		result := make(chan error, 1)
		go func() { result <- conn.Writer().Flush() }()
		arrives(t, peer, string(data[len(first):]))
		require.NoError(t, testkit.Receive(t, result))
	})
}

// Behaviour 4.4: no stale wake-up of a Flush that timed out ends a later Flush early.
func TestStaleWakeupDoesNotEndLaterFlush(t *testing.T) {
	conn, peer := narrowPair(t, "tcp")
	data := testkit.Pattern(muchOutput)
	sendUntilTimeout(t, conn, data)
	rest := data[len(drain(t, peer)):] // which makes the socket writable again
	queue(t, conn, data)
	result := testkit.Blocked(t, conn.Writer().Flush)
	stillWaiting(t, result)
	arrives(t, peer, string(rest)+string(data))
	require.NoError(t, testkit.Receive(t, result))
}

// Behaviour 4.4: Write reports how many bytes of its argument the kernel took, and the others are not sent later.
func TestWriteReportsWhatTheKernelTook(t *testing.T) {
	t.Parallel()
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		conn, peer := narrowPair(t, network)
		data := testkit.Pattern(muchOutput)
		require.NoError(t, conn.SetWriteTimeout(testkit.Short))
		n, err := conn.Write(data)
		requireTimeout(t, err, netpoll.ErrWriteTimeout)
		require.Positive(t, n)
		require.Less(t, n, len(data))
		got := drain(t, peer)
		require.Len(t, got, n, "Write said that %d bytes were taken", n)
		require.True(t, bytes.Equal(data[:n], got))
		m, err := conn.Write([]byte("tail"))
		require.NoError(t, err)
		require.Equal(t, 4, m)
		arrives(t, peer, "tail")
		nothingArrives(t, peer)
	})
}

// Behaviour 4.4: with a passed deadline Write and Flush fail at once, without sending anything.
func TestPassedWriteDeadlineSendsNothing(t *testing.T) {
	conn, peer := testnet.Dialed(t, "tcp")
	require.NoError(t, conn.SetWriteDeadline(time.Now().Add(-time.Second)))
	n, err := conn.Write([]byte("not sent"))
	requireTimeout(t, err, netpoll.ErrWriteTimeout)
	require.Zero(t, n)
	queue(t, conn, []byte("queued"))
	requireTimeout(t, conn.Writer().Flush(), netpoll.ErrWriteTimeout)
	nothingArrives(t, peer)
	require.NoError(t, conn.SetWriteDeadline(time.Time{}))
	require.NoError(t, conn.Writer().Flush())
	arrives(t, peer, "queued")
	nothingArrives(t, peer)
}

// Behaviour 4.4: a Flush that waits follows the deadline and the timeout that are set meanwhile.
func TestWriteDeadlineWakesBlockedFlush(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]func(conn netpoll.Connection) error{
		"past deadline": func(c netpoll.Connection) error { return c.SetWriteDeadline(time.Unix(1, 0)) },
		"near deadline": func(c netpoll.Connection) error { return c.SetDeadline(time.Now().Add(testkit.Short)) },
		"write timeout": func(c netpoll.Connection) error { return c.SetWriteTimeout(testkit.Short) },
	} {
		t.Run(name, func(t *testing.T) {
			conn, _ := narrowPair(t, "tcp")
			queue(t, conn, testkit.Pattern(muchOutput))
			result := testkit.Blocked(t, conn.Writer().Flush)
			require.NoError(t, set(conn))
			requireTimeout(t, testkit.Receive(t, result), netpoll.ErrWriteTimeout)
		})
	}
}

// Behaviour 4.4: zero, negative and huge write timeouts do not end a Flush early.
func TestWriteTimeoutsThatDoNotEndFlush(t *testing.T) {
	for name, timeouts := range map[string][]time.Duration{
		"zero":             {testkit.Short, 0},
		"negative ignored": {longTime, -1},
		"huge":             {math.MaxInt64},
	} {
		t.Run(name, func(t *testing.T) {
			conn, peer := narrowPair(t, "tcp")
			for _, timeout := range timeouts {
				require.NoError(t, conn.SetWriteTimeout(timeout))
			}
			data := testkit.Pattern(muchOutput)
			queue(t, conn, data)
			result := testkit.Blocked(t, conn.Writer().Flush)
			stillWaiting(t, result)
			arrives(t, peer, string(data))
			require.NoError(t, testkit.Receive(t, result))
		})
	}
}

// Behaviour 4.5: a second goroutine in Flush gets ErrConcurrentAccess, and the first is not disturbed.
func TestSecondFlushGetsErrConcurrentAccess(t *testing.T) {
	conn, peer := narrowPair(t, "tcp")
	data := testkit.Pattern(muchOutput)
	queue(t, conn, data)
	first := testkit.Blocked(t, conn.Writer().Flush)
	require.ErrorIs(t, conn.Writer().Flush(), netpoll.ErrConcurrentAccess)
	arrives(t, peer, string(data))
	require.NoError(t, testkit.Receive(t, first))
	require.NoError(t, conn.Writer().Flush(), "once the first has returned")
}

// Behaviour 4.5: Write may be called from many goroutines; the bytes of each call stay together.
func TestConcurrentWritesKeepEachCallTogether(t *testing.T) {
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		conn, peer := narrowPair(t, network)
		const writers, rounds = 8, 40
		var wg sync.WaitGroup
		failures := make(chan error, writers*rounds)
		for id := range writers {
			wg.Go(func() {
				for round := range rounds {
					size := 1 + (id*7919+round*104_729)%60_000
					n, err := conn.Write(frame(byte(id), size))
					if err != nil || n != 5+size {
						failures <- errors.Join(err, errors.New("short write"))
					}
				}
			})
		}
		require.NoError(t, peer.SetReadDeadline(time.Now().Add(testkit.Timeout)))
		for i := range writers * rounds {
			require.NoError(t, checkFrame(peer), "frame %d", i)
		}
		testkit.Within(t, testkit.Timeout, wg.Wait)
		close(failures)
		for err := range failures {
			require.NoError(t, err)
		}
	})
}

// frame is a length, an id, and size bytes with the value of the id.
func frame(id byte, size int) []byte {
	p := binary.BigEndian.AppendUint32(nil, uint32(size))
	return append(append(p, id), bytes.Repeat([]byte{id}, size)...)
}

// checkFrame reads one frame.
func checkFrame(r io.Reader) error {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	body := make([]byte, binary.BigEndian.Uint32(head[:4]))
	if len(body) > 60_000 {
		return errors.New("a length that nobody wrote")
	}
	if _, err := io.ReadFull(r, body); err != nil {
		return err
	}
	if bytes.Count(body, head[4:]) != len(body) {
		return errors.New("bytes of several calls are mixed")
	}
	return nil
}

// drainToEnd reads until the end of the stream.
func drainToEnd(t *testing.T, peer net.Conn) []byte {
	t.Helper()
	require.NoError(t, peer.SetReadDeadline(time.Now().Add(testkit.Timeout)))
	got, err := io.ReadAll(peer)
	require.NoError(t, err)
	return got
}
