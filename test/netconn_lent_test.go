//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package test

// The deadlines of a net.Conn below a connection, and a net.Conn that has none.

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/stretchr/testify/require"
)

// Detach in a handler gives a net.Conn back that works, and leaves it alone from then on.
func TestDetachInAHandlerGivesTheNetConnBack(t *testing.T) {
	ours, peer := net.Pipe()
	defer peer.Close()
	conn, err := netpoll.NewConnection(ours)
	require.NoError(t, err)
	detached, goOn := make(chan error), make(chan struct{})
	require.NoError(t, conn.SetOnRequest(func(_ context.Context, c netpoll.Connection) error {
		err := c.Reader().Skip(1)
		detached <- errors.Join(err, c.(interface{ Detach() error }).Detach())
		<-goOn
		return nil
	}))
	released := make(chan struct{})
	require.NoError(t, conn.AddCloseCallback(func(netpoll.Connection) error { close(released); return nil }))
	testkit.Send(t, peer, "x")
	require.NoError(t, testkit.Receive(t, detached))
	require.NoError(t, ours.SetReadDeadline(time.Now().Add(testkit.Timeout)))
	go func() { _, _ = io.WriteString(peer, "hello") }()
	got := make([]byte, 5)
	_, err = io.ReadFull(ours, got)
	require.NoError(t, err)
	require.Equal(t, "hello", string(got))

	require.NoError(t, ours.SetReadDeadline(time.Now().Add(-time.Second)))
	close(goOn)
	testkit.Receive(t, released)
	testkit.Eventually(t, func() bool { return !conn.IsActive() })
	_, err = ours.Read(got)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded, "the new owner's deadline is gone")
	require.NoError(t, ours.Close())
}

// carriedBy returns a connection over what over makes of one end of a pipe, and the other end.
func carriedBy(t *testing.T, over func(net.Conn) net.Conn) (conn netpoll.Connection, peer net.Conn) {
	t.Helper()
	ours, peer := net.Pipe()
	t.Cleanup(func() { peer.Close() })
	return wrap(t, over(ours)), peer
}

// writeDeadlines notes the write deadline that holds.
type writeDeadlines struct {
	net.Conn
	last time.Time
	err  error
}

func (w *writeDeadlines) SetDeadline(d time.Time) error {
	return errors.Join(w.SetReadDeadline(d), w.SetWriteDeadline(d))
}

func (w *writeDeadlines) SetWriteDeadline(d time.Time) error {
	if w.err != nil {
		return w.err
	}
	w.last = d
	return w.Conn.SetWriteDeadline(d)
}

// The deadline of a Write ends with it: the Read of TLS, say, may have to write something, too.
func TestWriteDeadlineOfANetConnEndsWithTheWrite(t *testing.T) {
	below := new(writeDeadlines)
	conn, peer := carriedBy(t, func(ours net.Conn) net.Conn {
		below.Conn = ours
		return below
	})
	go func() { _, _ = io.Copy(io.Discard, peer) }()
	require.NoError(t, conn.SetWriteTimeout(time.Hour))
	_, err := conn.Write([]byte("hello"))
	require.NoError(t, err)
	require.Zero(t, below.last)
}

// A net.Conn that takes no deadlines can still be written to.
func TestNetConnWithoutWriteDeadlinesCanBeWrittenTo(t *testing.T) {
	conn, peer := carriedBy(t, func(ours net.Conn) net.Conn {
		return &writeDeadlines{Conn: ours, err: errors.New("there are none")}
	})
	require.NoError(t, conn.SetWriteTimeout(time.Hour))
	done := make(chan error, 1)
	go func() {
		_, err := conn.Write([]byte("hello"))
		done <- err
	}()
	got := make([]byte, 5)
	_, err := io.ReadFull(peer, got)
	require.NoError(t, err)
	require.NoError(t, testkit.Receive(t, done))
}

// largestWrite notes the longest Write.
type largestWrite struct {
	net.Conn
	most int
}

func (w *largestWrite) Write(p []byte) (int, error) {
	w.most = max(w.most, len(p))
	return w.Conn.Write(p)
}

// A long message goes out in pieces, so that the idle limit sees that it moves.
func TestLongWritesToANetConnAreCutIntoPieces(t *testing.T) {
	below := new(largestWrite)
	conn, peer := carriedBy(t, func(ours net.Conn) net.Conn {
		below.Conn = ours
		return below
	})
	got := make(chan int64, 1)
	go func() {
		n, _ := io.Copy(io.Discard, peer)
		got <- n
	}()
	n, err := conn.Write(make([]byte, 4<<20))
	require.NoError(t, err)
	require.Equal(t, 4<<20, n)
	require.NoError(t, conn.Close())
	require.EqualValues(t, 4<<20, testkit.Receive(t, got))
	require.LessOrEqual(t, below.most, 1<<20)
}

// failingHalfClose cannot end its output yet.
type failingHalfClose struct{ net.Conn }

func (failingHalfClose) CloseWrite() error { return errors.New("not yet") }

// A CloseWrite that fails ends nothing, as that of TLS before its handshake: the peer has noticed nothing.
func TestCloseWriteThatFailsEndsNothing(t *testing.T) {
	conn, peer := carriedBy(t, func(ours net.Conn) net.Conn { return failingHalfClose{ours} })
	require.Error(t, conn.(interface{ CloseWrite() error }).CloseWrite())
	go func() { _, _ = io.Copy(io.Discard, peer) }()
	_, err := conn.Write([]byte("hello"))
	require.NoError(t, err)
}
