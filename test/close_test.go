//go:build linux

package test

// Close: from everywhere, against everything that waits, and what it leaves.

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

// Behaviour 5.9: Close is idempotent and callable from anywhere, at once too.
func TestCloseIsIdempotentFromManyGoroutines(t *testing.T) {
	for range 100 {
		conn, peer := testnet.Dialed(t, "tcp")
		var callbacks atomic.Int64
		require.NoError(t, conn.AddCloseCallback(func(netpoll.Connection) error { callbacks.Add(1); return nil }))
		var closers sync.WaitGroup
		for range 8 {
			closers.Go(func() {
				if err := conn.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			})
		}
		closers.Wait()
		require.NoError(t, conn.Close())
		require.False(t, conn.IsActive())
		require.EqualValues(t, 1, callbacks.Load())
		_, err := peer.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
		peer.Close()
	}
}

// blockedCalls are calls that wait on a connection whose peer neither sends nor reads.
var blockedCalls = map[string]func(conn netpoll.Connection) error{
	"Next":       func(c netpoll.Connection) error { _, err := c.Reader().Next(10); return err },
	"Peek":       func(c netpoll.Connection) error { _, err := c.Reader().Peek(10); return err },
	"Skip":       func(c netpoll.Connection) error { return c.Reader().Skip(10) },
	"ReadString": func(c netpoll.Connection) error { _, err := c.Reader().ReadString(10); return err },
	"ReadBinary": func(c netpoll.Connection) error { _, err := c.Reader().ReadBinary(10); return err },
	"ReadByte":   func(c netpoll.Connection) error { _, err := c.Reader().ReadByte(); return err },
	"Slice":      func(c netpoll.Connection) error { _, err := c.Reader().Slice(10); return err },
	"Until":      func(c netpoll.Connection) error { _, err := c.Reader().Until('\n'); return err },
	"Read":       func(c netpoll.Connection) error { _, err := c.Read(make([]byte, 10)); return err },
	"Write":      func(c netpoll.Connection) error { _, err := c.Write(make([]byte, 64<<20)); return err },
	"Flush": func(c netpoll.Connection) error {
		if _, err := c.Writer().Malloc(64 << 20); err != nil {
			return err
		}
		return c.Writer().Flush()
	},
}

// Behaviour 5.9: Close wakes blocked reads and writes; they say ErrConnClosed.
func TestCloseWakesBlockedCall(t *testing.T) {
	t.Parallel()
	for name, call := range blockedCalls {
		t.Run(name, func(t *testing.T) {
			testkit.OverNetworks(t, func(t *testing.T, network string) {
				conn, _ := testnet.Dialed(t, network)
				result := testkit.Blocked(t, func() error { return call(conn) })
				require.NoError(t, conn.Close())
				err := testkit.Receive(t, result)
				require.ErrorIs(t, err, netpoll.ErrConnClosed)
				require.NotErrorIs(t, err, netpoll.ErrEOF)
			})
		})
	}
}

// Behaviour 5.9: while a callback runs, the release is finished by that callback's return.
func TestCloseInsideCallbackIsFinishedByItsReturn(t *testing.T) {
	for _, where := range []string{"OnConnect", "OnRequest", "OnDisconnect"} {
		t.Run(where, func(t *testing.T) {
			var j journal
			id, leaving := make(chan uint64, 1), make(chan struct{})
			act := func(here string, conn netpoll.Connection) {
				if here != where {
					return
				}
				id <- idOf(t, conn)
				_ = conn.AddCloseCallback(j.noting("close callback"))
				if err := conn.Close(); err != nil {
					j.add("Close: %v", err)
				}
				j.add("Close returned, active: %v", conn.IsActive())
				<-leaving
				j.add("callback returns")
			}
			s := testnet.NewServer(t, "tcp", func(_ context.Context, conn netpoll.Connection) error {
				act("OnRequest", conn)
				return testnet.Discard(context.Background(), conn)
			}, netpoll.WithOnConnect(func(ctx context.Context, conn netpoll.Connection) context.Context {
				act("OnConnect", conn)
				return ctx
			}), netpoll.WithOnDisconnect(func(_ context.Context, conn netpoll.Connection) {
				act("OnDisconnect", conn)
			}))
			c := s.Dial()
			if where == "OnDisconnect" {
				require.NoError(t, c.Close())
			} else {
				_, err := io.WriteString(c, "x")
				require.NoError(t, err)
			}
			j.until(t, "Close returned, active: false")
			socket := testkit.Receive(t, id)
			require.True(t, socketIsOpen(socket), "the descriptor was closed while the callback runs")
			close(leaving)
			j.until(t, "close callback")
			testkit.Eventually(t, func() bool { return !socketIsOpen(socket) })
			require.Equal(t, []string{"Close returned, active: false", "callback returns", "close callback"}, j.list())
		})
	}
}

// Behaviour 5.9: callable from anywhere: from a CloseCallback of the same connection too.
func TestCloseInsideCloseCallbackDoesNothing(t *testing.T) {
	conn, _ := testnet.Dialed(t, "tcp")
	var calls atomic.Int64
	require.NoError(t, conn.AddCloseCallback(func(c netpoll.Connection) error { calls.Add(1); return c.Close() }))
	testkit.Within(t, testkit.Timeout, func() { conn.Close() })
	require.EqualValues(t, 1, calls.Load())
}

// Behaviour 5.9: unflushed output is dropped; flushed output arrives.
func TestCloseDropsOnlyUnflushedOutput(t *testing.T) {
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		conn, peer := testnet.Dialed(t, network)
		_, err := conn.Writer().WriteString("flushed")
		require.NoError(t, err)
		require.NoError(t, conn.Writer().Flush())
		_, err = conn.Writer().WriteString("never flushed")
		require.NoError(t, err)
		require.NoError(t, conn.Close())
		got, err := io.ReadAll(peer)
		require.NoError(t, err)
		require.Equal(t, "flushed", string(got))
	})
}

// Behaviour 5.9: a Close by another goroutine ends a handler's reads; its CloseCallbacks run when it has returned.
func TestCloseFromOutsideEndsBlockedHandler(t *testing.T) {
	var j journal
	handling := make(chan netpoll.Connection, 1)
	s := testnet.NewServer(t, "tcp", func(_ context.Context, conn netpoll.Connection) error {
		_ = conn.AddCloseCallback(j.noting("close callback"))
		handling <- conn
		_, err := conn.Reader().Next(100)
		j.add("handler ends, closed: %v", isConnClosed(err))
		return err
	})
	c := s.Dial()
	_, err := io.WriteString(c, "x")
	require.NoError(t, err)
	conn := testkit.Receive(t, handling)
	require.NoError(t, conn.Close())
	j.until(t, "close callback")
	require.Equal(t, []string{"handler ends, closed: true", "close callback"}, j.list())
}
