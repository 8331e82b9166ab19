//go:build linux

package test

// Who gets the input where a handler is one of several that may want it: a handler that returns until its frame is
// whole, a reader that was there first, and a goroutine that the handler handed its connection to.

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

// lengthFramed returns a message of n bytes behind its length.
func lengthFramed(n int) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(n)), testkit.Pattern(n)...)
}

// takeFrame is an OnRequest that consumes one frame if it is whole, and nothing otherwise.
func takeFrame(to chan<- int) netpoll.OnRequest {
	return func(_ context.Context, conn netpoll.Connection) error {
		r := conn.Reader()
		if r.Len() < 4 {
			return nil
		}
		head, err := r.Peek(4)
		if err != nil {
			return err
		}
		n := int(binary.BigEndian.Uint32(head))
		if r.Len() < 4+n {
			return nil
		}
		if err = r.Skip(4 + n); err != nil {
			return err
		}
		to <- n
		return r.Release()
	}
}

// Behaviour 5.5, 6.9: a handler that consumes one frame and then waits for the rest of the next one gets it, though
// the input it left is too much for receiving to resume by itself and too little to be the limit.
func TestHandlerGetsEveryFrameThoughTheReadLimitCutsThem(t *testing.T) {
	const limit, pairs = 1000, 20
	for _, peerCloses := range []bool{false, true} {
		t.Run(fmt.Sprintf("peer closes: %v", peerCloses), func(t *testing.T) {
			frames, closed := make(chan int, 2*pairs), make(chan struct{})
			s := testnet.NewServer(t, "tcp", takeFrame(frames), netpoll.WithReadLimit(limit),
				netpoll.WithOnPrepare(func(conn netpoll.Connection) context.Context {
					_ = conn.AddCloseCallback(func(netpoll.Connection) error { close(closed); return nil })
					return context.Background()
				}))
			c := s.Dial()
			var stream []byte
			for range pairs {
				stream = append(append(stream, lengthFramed(296)...), lengthFramed(896)...)
			}
			_, err := c.Write(stream)
			require.NoError(t, err)
			if peerCloses {
				require.NoError(t, c.Close())
				testkit.Receive(t, closed)
				require.Len(t, frames, 2*pairs, "frames that the handler saw before the connection was closed")
			}
			for range pairs {
				require.Equal(t, 296, testkit.Receive(t, frames))
				require.Equal(t, 896, testkit.Receive(t, frames))
			}
		})
	}
}

// Behaviour 5.6: input that a reader from before the handler leaves goes to the handler, once that reader is out of its
// way. The runner here starts the handler faster than the goroutine that asked for it goes on.
func TestHandlerIsCalledForWhatAWaitingReaderLeft(t *testing.T) {
	if !testkit.InOwnProcess(t) {
		return
	}
	netpoll.SetRunner(func(_ context.Context, f func()) {
		done := make(chan struct{})
		go func() { defer close(done); f() }()
		select {
		case <-done:
		case <-time.After(testkit.Short):
		}
	})
	defer netpoll.SetRunner(nil)
	conn, peer := testnet.Dialed(t, "tcp")
	handled := make(chan string, 10)
	result := testkit.Blocked(t, func() error {
		p, err := conn.Reader().Next(4)
		if err == nil && string(p) != "head" {
			err = fmt.Errorf("the reader got %q", p)
		}
		return err
	})
	require.NoError(t, conn.SetOnRequest(takeAll(handled)))
	testkit.Send(t, peer, "headrest")
	require.NoError(t, testkit.Receive(t, result))
	require.Equal(t, "rest", testkit.Receive(t, handled))
}

// Behaviour 5.4: input that a handler left to another goroutine can be read after the peer's end, and after the
// automatic close that follows from it.
func TestInputHandedToAGoroutineCanBeReadAfterTheAutomaticClose(t *testing.T) {
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		handed, closed := make(chan netpoll.Connection, 10), make(chan struct{})
		s := testnet.NewServer(t, network, func(_ context.Context, conn netpoll.Connection) error {
			handed <- conn
			return nil
		}, netpoll.WithOnPrepare(func(conn netpoll.Connection) context.Context {
			_ = conn.AddCloseCallback(func(netpoll.Connection) error { close(closed); return nil })
			return context.Background()
		}))
		c := s.Dial()
		_, err := io.WriteString(c, "aaaabbbb")
		require.NoError(t, err)
		require.NoError(t, c.Close())
		conn := testkit.Receive(t, handed)
		testkit.Receive(t, closed)

		for _, want := range []string{"aaaa", "bbbb"} {
			p, err := conn.Reader().Next(len(want))
			require.NoError(t, err)
			require.Equal(t, want, string(p))
		}
		require.NoError(t, conn.Reader().Release())
		_, err = conn.Reader().Next(1)
		require.ErrorIs(t, err, netpoll.ErrConnClosed)
	})
}
