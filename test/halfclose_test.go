//go:build linux

package test

// Half-closed connections: one direction over, the other alive.

import (
	"bytes"
	"context"
	"io"
	"net"
	"syscall"
	"testing"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

// Behaviour 5.10: after the peer's half-close a served connection still sends its reply, large ones too.
func TestReplyAfterPeersHalfCloseArrives(t *testing.T) {
	t.Parallel()
	reply := testkit.Pattern(8 << 20) // more than the socket takes at once
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		failed, gone := make(chan error, 1), make(chan struct{})
		s := testnet.NewServer(t, network, func(_ context.Context, conn netpoll.Connection) error {
			<-gone
			req, err := conn.Reader().ReadString(len("request"))
			if err == nil && req == "request" {
				_, err = conn.Writer().WriteBinary(reply)
			}
			if err == nil {
				err = conn.Writer().Flush()
			}
			failed <- err
			return conn.Close()
		}, netpoll.WithOnDisconnect(func(context.Context, netpoll.Connection) { close(gone) }))
		c := s.Dial()
		_, err := io.WriteString(c, "request")
		require.NoError(t, err)
		require.NoError(t, c.(halfCloser).CloseWrite())
		got, err := io.ReadAll(c)
		require.NoError(t, err)
		require.NoError(t, testkit.Receive(t, failed))
		require.True(t, bytes.Equal(reply, got), "%d bytes arrived, not the %d of the reply", len(got), len(reply))
	})
}

// Behaviour 5.10: reading ends with EOF, then the user of a dialed connection replies, until Close.
func TestDialedConnectionRepliesAfterPeersHalfClose(t *testing.T) {
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		conn, peer := testnet.Dialed(t, network)
		_, err := io.WriteString(peer, "question")
		require.NoError(t, err)
		require.NoError(t, peer.(halfCloser).CloseWrite())
		question, err := io.ReadAll(conn)
		require.NoError(t, err)
		require.Equal(t, "question", string(question))
		require.False(t, conn.IsActive())
		for range 3 {
			_, err = conn.Writer().WriteString("flush,")
			require.NoError(t, err)
			require.NoError(t, conn.Writer().Flush())
			n, err := conn.Write([]byte("write;"))
			require.NoError(t, err)
			require.Equal(t, len("write;"), n)
		}
		require.NoError(t, conn.Close())
		got, err := io.ReadAll(peer)
		require.NoError(t, err)
		require.Equal(t, "flush,write;flush,write;flush,write;", string(got))
	})
}

// Behaviour 5.10: a Flush that waits for room when the half-close comes goes on.
func TestPeersHalfCloseDoesNotDisturbRunningFlush(t *testing.T) {
	t.Parallel()
	data := testkit.Pattern(16 << 20)
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		conn, peer := testnet.Dialed(t, network)
		flushed := testkit.Blocked(t, func() error { return flushAll(conn, data) })
		require.NoError(t, peer.(halfCloser).CloseWrite())
		testkit.Eventually(t, func() bool { return !conn.IsActive() })
		got := make([]byte, len(data))
		_, err := io.ReadFull(peer, got)
		require.NoError(t, err)
		require.NoError(t, testkit.Receive(t, flushed))
		require.True(t, bytes.Equal(data, got))
	})
}

// flushAll sends data by way of the Writer.
func flushAll(conn netpoll.Connection, data []byte) error {
	if _, err := conn.Writer().WriteBinary(data); err != nil {
		return err
	}
	return conn.Writer().Flush()
}

// Behaviour 5.10: an idle half-closed connection costs no processor time, and a handler's one ends by itself.
func TestHalfClosedConnectionIdles(t *testing.T) {
	conn, peer := testnet.Dialed(t, "tcp")
	require.NoError(t, peer.(halfCloser).CloseWrite())
	testkit.Eventually(t, func() bool { return !conn.IsActive() })
	testkit.Idles(t)

	closed := make(chan struct{})
	s := testnet.NewServer(t, "tcp", testnet.Echo,
		netpoll.WithOnConnect(func(ctx context.Context, conn netpoll.Connection) context.Context {
			_ = conn.AddCloseCallback(func(netpoll.Connection) error { close(closed); return nil })
			return ctx
		}))
	c := s.Dial()
	require.NoError(t, testkit.RoundTrip(c, "x"))
	require.NoError(t, c.(halfCloser).CloseWrite())
	testkit.Receive(t, closed)
	_, err := c.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
}

// Behaviour 1.1: CloseWrite ends only the own side: flushed output arrives, then the end; the answer is read.
func TestCloseWriteEndsOnlyTheOwnSide(t *testing.T) {
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		conn, peer := testnet.Dialed(t, network)
		_, err := conn.Write([]byte("question"))
		require.NoError(t, err)
		require.NoError(t, conn.(halfCloser).CloseWrite())
		got, err := io.ReadAll(peer)
		require.NoError(t, err)
		require.Equal(t, "question", string(got))

		_, err = conn.Write([]byte("x"))
		require.ErrorIs(t, err, syscall.EPIPE)
		require.True(t, conn.IsActive())
		_, err = io.WriteString(peer, "answer")
		require.NoError(t, err)
		require.NoError(t, peer.Close())
		got, err = io.ReadAll(conn)
		require.NoError(t, err)
		require.Equal(t, "answer", string(got))
	})
}

// Behaviour 1.1: CloseRead ends reads, also blocked ones, with the end of the stream; writing goes on.
func TestCloseReadEndsOnlyReading(t *testing.T) {
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		conn, peer := testnet.Dialed(t, network)
		result := testkit.Blocked(t, func() error { return waitForMore(conn) })
		require.NoError(t, conn.(halfCloser).CloseRead())
		require.ErrorIs(t, testkit.Receive(t, result), netpoll.ErrEOF)
		_, err := conn.Read(make([]byte, 1))
		require.Equal(t, io.EOF, err)
		_, err = conn.Write([]byte("still talking"))
		require.NoError(t, err)
		require.NoError(t, conn.Close())
		got, err := io.ReadAll(peer)
		require.NoError(t, err)
		require.Equal(t, "still talking", string(got))
		testkit.Idles(t)
	})
}

// Behaviour 5.10: both sides half-closed in turn carry a whole exchange, as with package net.
func TestHalfCloseInBothDirectionsCarriesWholeExchange(t *testing.T) {
	request, response := testkit.Pattern(3<<20), testkit.Pattern(2<<20)
	s := testnet.NewServer(t, "tcp", nil,
		netpoll.WithOnConnect(func(ctx context.Context, conn netpoll.Connection) context.Context {
			got, err := io.ReadAll(conn)
			if err != nil || !bytes.Equal(got, request) {
				t.Errorf("the server read %d bytes: %v", len(got), err)
			}
			if _, err = conn.Write(response); err != nil {
				t.Error(err)
			}
			if err = conn.(halfCloser).CloseWrite(); err != nil {
				t.Error(err)
			}
			return ctx
		}))
	conn, err := netpoll.DialConnection("tcp", s.Listener.Addr().String(), testkit.Timeout)
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write(request)
	require.NoError(t, err)
	require.NoError(t, conn.(halfCloser).CloseWrite())
	got, err := io.ReadAll(conn)
	require.NoError(t, err)
	require.True(t, bytes.Equal(got, response))
}

// Behaviour 5.9: half-closing a closed connection is an error, not a panic.
func TestHalfCloseAfterCloseIsAnError(t *testing.T) {
	conn, _ := testnet.Dialed(t, "tcp")
	require.NoError(t, conn.Close())
	require.ErrorIs(t, conn.(halfCloser).CloseRead(), net.ErrClosed)
	require.ErrorIs(t, conn.(halfCloser).CloseWrite(), net.ErrClosed)
}

// Behaviour 5.1: a served connection that does not read any more still notices that its peer is gone, and ends.
func TestConnectionAfterCloseReadEndsWithThePeersReset(t *testing.T) {
	shut, closed := make(chan error, 1), make(chan struct{})
	s := testnet.NewServer(t, "tcp", func(ctx context.Context, conn netpoll.Connection) error {
		_ = testnet.Discard(ctx, conn)
		shut <- conn.(halfCloser).CloseRead()
		return nil
	}, netpoll.WithOnPrepare(func(conn netpoll.Connection) context.Context {
		_ = conn.AddCloseCallback(func(netpoll.Connection) error { close(closed); return nil })
		return context.Background()
	}))
	c := s.Dial()
	_, err := io.WriteString(c, "hello")
	require.NoError(t, err)
	require.NoError(t, testkit.Receive(t, shut))
	testkit.Reset(t, c)
	testkit.Receive(t, closed)
}

// Behaviour 1.1: CloseWrite ends a Write that waits for room, and only the own side: the peer is not taken for gone,
// and its output is still read.
func TestCloseWriteEndsBlockedWriteAndLeavesReadingAlone(t *testing.T) {
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		conn, peer := testnet.Dialed(t, network)
		result := testkit.Blocked(t, func() error { _, err := conn.Write(make([]byte, 64<<20)); return err })
		require.NoError(t, conn.(halfCloser).CloseWrite())
		require.ErrorIs(t, testkit.Receive(t, result), syscall.EPIPE)
		require.True(t, conn.IsActive(), "the peer is taken for gone, though it is alive")
		testkit.Send(t, peer, "still here")
		require.NoError(t, conn.SetReadTimeout(testkit.Timeout))
		s, err := conn.Reader().ReadString(len("still here"))
		require.NoError(t, err)
		require.Equal(t, "still here", s)
	})
}
