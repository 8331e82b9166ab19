package test

// Connections over any net.Conn: ends of a net.Pipe, and ones that misbehave.

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/nettest"
)

// wrap makes a connection of conn that is closed when the test ends.
func wrap(t testing.TB, conn net.Conn) netpoll.Connection {
	t.Helper()
	c, err := netpoll.NewConnection(conn)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

// pipePair returns a connection over one end of a net.Pipe, and the other end.
func pipePair(t testing.TB) (conn netpoll.Connection, peer net.Conn) {
	t.Helper()
	own, peer := net.Pipe()
	t.Cleanup(func() { peer.Close() })
	return wrap(t, own), peer
}

// underlying has the method that only a connection over a net.Conn has.
type underlying interface{ NetConn() net.Conn }

func TestWrappedPipesConformToNetConn(t *testing.T) {
	t.Parallel()
	for name, both := range map[string]bool{"both": true, "one": false} {
		t.Run(name, func(t *testing.T) {
			nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
				a, b := net.Pipe()
				if c1, err = netpoll.NewConnection(a); err != nil {
					return nil, nil, nil, err
				}
				if c2 = b; both {
					if c2, err = netpoll.NewConnection(b); err != nil {
						return nil, nil, nil, err
					}
				}
				return c1, c2, func() { c1.Close(); c2.Close() }, nil
			})
		})
	}
}

func TestNewConnectionTakesWhatItIsGiven(t *testing.T) {
	_, err := netpoll.NewConnection(nil)
	require.Error(t, err)
	_, err = netpoll.NewConnection((*net.TCPConn)(nil))
	require.Error(t, err)

	own, peer := net.Pipe()
	defer peer.Close()
	conn := wrap(t, own)
	require.Equal(t, own.LocalAddr(), conn.LocalAddr())
	require.Equal(t, own.RemoteAddr(), conn.RemoteAddr())
	require.Same(t, own, conn.(underlying).NetConn())
	require.Equal(t, -1, conn.(netpoll.Conn).Fd())
	again, err := netpoll.NewConnection(conn)
	require.NoError(t, err)
	require.Same(t, conn, again)

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	plain, err := net.Dial("tcp", ln.Addr().String())
	require.NoError(t, err)
	local := plain.LocalAddr()
	tcp := wrap(t, plain)
	require.IsType(t, (*netpoll.TCPConnection)(nil), tcp)
	require.Equal(t, local, tcp.LocalAddr())
	accepted, err := ln.Accept()
	require.NoError(t, err)
	defer accepted.Close()
	_, err = tcp.Write([]byte("over TCP"))
	require.NoError(t, err)
	got := make([]byte, 8)
	_, err = io.ReadFull(accepted, got)
	require.NoError(t, err)
	require.Equal(t, "over TCP", string(got))
}

func TestHandlerServesWrappedConnection(t *testing.T) {
	conn, peer := pipePair(t)
	require.NoError(t, conn.SetOnRequest(testnet.Echo))
	for range 3 {
		testkit.Send(t, peer, "hello")
		got := make([]byte, 5)
		_, err := io.ReadFull(peer, got)
		require.NoError(t, err)
		require.Equal(t, "hello", string(got))
	}
	closed := make(chan struct{})
	require.NoError(t, conn.AddCloseCallback(func(netpoll.Connection) error { close(closed); return nil }))
	require.NoError(t, peer.Close())
	testkit.Receive(t, closed) // it belongs to its handler
}

func TestEndOfWrappedConnectionIsNoticedWhileNobodyReads(t *testing.T) {
	conn, peer := pipePair(t)
	gone := make(chan struct{})
	require.NoError(t, conn.(interface {
		SetOnDisconnect(netpoll.OnDisconnect) error
	}).SetOnDisconnect(func(context.Context, netpoll.Connection) { close(gone) }))
	require.True(t, conn.IsActive())
	testkit.Send(t, peer, "last words")
	require.NoError(t, peer.Close())
	testkit.Receive(t, gone)
	require.False(t, conn.IsActive())
	got, err := io.ReadAll(conn)
	require.NoError(t, err)
	require.Equal(t, "last words", string(got))
	_, err = conn.Write([]byte("x"))
	require.ErrorIs(t, err, netpoll.ErrConnClosed)
}

func TestLargeMessageOverWrappedConnectionArrivesWhole(t *testing.T) {
	conn, peer := pipePair(t)
	data := testkit.Pattern(3 << 20)
	sent := make(chan error, 1)
	go func() { _, err := peer.Write(data); sent <- err }()
	got, err := conn.Reader().Next(len(data)) // more than the limit
	require.NoError(t, err)
	require.NoError(t, testkit.Receive(t, sent))
	require.True(t, bytes.Equal(data, got))
}

func TestManyPiecesAreSentInOrder(t *testing.T) {
	conn, peer := pipePair(t)
	var want []byte
	for i := range 200 {
		p := testkit.Pattern(i * 97 % 9000)
		want = append(want, p...)
		_, err := conn.Writer().WriteBinary(p)
		require.NoError(t, err)
	}
	flushed := make(chan error, 1)
	go func() { flushed <- conn.Writer().Flush() }()
	got := make([]byte, len(want))
	_, err := io.ReadFull(peer, got)
	require.NoError(t, err)
	require.NoError(t, testkit.Receive(t, flushed))
	require.True(t, bytes.Equal(want, got))
}

func TestReadLimitPausesWrappedConnection(t *testing.T) {
	const limit = 8 << 10
	conn, peer := pipePair(t)
	require.NoError(t, conn.(interface{ SetReadLimit(int) error }).SetReadLimit(limit))
	data := testkit.Pattern(4 * limit)
	var accepted atomic.Int64
	sent := make(chan error, 1)
	go func() {
		for p := data; len(p) > 0; p = p[1024:] {
			if _, err := peer.Write(p[:1024]); err != nil {
				sent <- err
				return
			}
			accepted.Add(1024)
		}
		sent <- nil
	}()
	testkit.Eventually(t, func() bool { return conn.Reader().Len() == limit })
	time.Sleep(testkit.Calm)
	require.Equal(t, limit, conn.Reader().Len())
	require.LessOrEqual(t, accepted.Load(), int64(limit), "the peer was not held back")
	got := make([]byte, len(data))
	_, err := io.ReadFull(conn, got)
	require.NoError(t, err)
	require.NoError(t, testkit.Receive(t, sent))
	require.True(t, bytes.Equal(data, got))
}

func TestCloseReadDropsWhatArrives(t *testing.T) {
	conn, peer := pipePair(t)
	require.NoError(t, conn.(interface{ CloseRead() error }).CloseRead())
	_, err := conn.Read(make([]byte, 1))
	require.Equal(t, io.EOF, err)
	for range 100 {
		testkit.Send(t, peer, "dropped")
	}
	require.Zero(t, conn.Reader().Len())
	require.True(t, conn.IsActive())
	require.NoError(t, peer.Close())
	testkit.Eventually(t, func() bool { return !conn.IsActive() })
}

func TestWriteTimeoutOverPipeKeepsTheRestForTheNextFlush(t *testing.T) {
	conn, peer := pipePair(t)
	require.NoError(t, conn.SetWriteTimeout(testkit.Short))
	data := testkit.Pattern(100_000)
	_, err := conn.Writer().WriteBinary(data)
	require.NoError(t, err)
	first := make([]byte, 1000)
	read := make(chan error, 1)
	go func() { _, err := io.ReadFull(peer, first); read <- err }()
	err = conn.Writer().Flush()
	require.ErrorIs(t, err, netpoll.ErrWriteTimeout)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoError(t, testkit.Receive(t, read))
	require.True(t, conn.IsActive())

	require.NoError(t, conn.SetWriteTimeout(0))
	flushed := make(chan error, 1)
	go func() { flushed <- conn.Writer().Flush() }()
	rest := make([]byte, len(data)-len(first))
	_, err = io.ReadFull(peer, rest)
	require.NoError(t, err)
	require.NoError(t, testkit.Receive(t, flushed))
	require.True(t, bytes.Equal(data, append(first, rest...)))
}

// inWrite returns when a Flush of some bytes over a pipe without a reader is blocked in Write.
func inWrite(t *testing.T, conn netpoll.Connection) <-chan error {
	t.Helper()
	return testkit.Blocked(t, func() error { _, err := conn.Write(testkit.Pattern(100)); return err })
}

func TestBlockedWriteFollowsADeadlineThatIsMoved(t *testing.T) {
	t.Parallel()
	t.Run("set", func(t *testing.T) {
		conn, _ := pipePair(t)
		written := inWrite(t, conn)
		require.NoError(t, conn.SetWriteDeadline(time.Now().Add(time.Millisecond)))
		require.ErrorIs(t, testkit.Receive(t, written), os.ErrDeadlineExceeded)
	})
	t.Run("moved away", func(t *testing.T) {
		conn, peer := pipePair(t)
		require.NoError(t, conn.SetWriteDeadline(time.Now().Add(testkit.Ample)))
		written := inWrite(t, conn)
		require.NoError(t, conn.SetWriteDeadline(time.Time{}))
		testkit.Silent(t, 2*testkit.Ample, written, "the end")
		_, err := io.ReadFull(peer, make([]byte, 100))
		require.NoError(t, err)
		require.NoError(t, testkit.Receive(t, written))
	})
}

func TestCloseEndsBlockedReadAndWriteOfWrappedConnection(t *testing.T) {
	conn, _ := pipePair(t)
	written := inWrite(t, conn)
	read := testkit.Blocked(t, func() error { _, err := conn.Reader().Next(1); return err })
	closed := make(chan struct{})
	require.NoError(t, conn.AddCloseCallback(func(netpoll.Connection) error { close(closed); return nil }))
	require.NoError(t, conn.Close())
	require.ErrorIs(t, testkit.Receive(t, written), net.ErrClosed)
	require.ErrorIs(t, testkit.Receive(t, read), net.ErrClosed)
	testkit.Receive(t, closed)
}

func TestCloseOfQuietWrappedConnectionHasRunCallbacksWhenItReturns(t *testing.T) {
	for range 100 {
		conn, _ := pipePair(t)
		ran := false
		require.NoError(t, conn.AddCloseCallback(func(netpoll.Connection) error { ran = true; return nil }))
		require.NoError(t, conn.Close())
		require.True(t, ran)
	}
}

func TestDetachGivesTheNetConnBack(t *testing.T) {
	conn, peer := pipePair(t)
	testkit.Send(t, peer, "before")
	testnet.Buffered(t, conn, len("before"))
	require.NoError(t, conn.(interface{ Detach() error }).Detach())
	own := conn.(underlying).NetConn()
	go func() { _, _ = peer.Write([]byte("after")) }()
	got := make([]byte, 5)
	var err error
	testkit.Within(t, testkit.Timeout, func() { _, err = io.ReadFull(own, got) }) // without a deadline: Detach has left none
	require.NoError(t, err)
	require.Equal(t, "after", string(got))
	before, err := conn.Reader().ReadString(len("before"))
	require.NoError(t, err)
	require.Equal(t, "before", before)
	require.NoError(t, own.Close())
}

func TestHalfCloseNeedsANetConnThatHasIt(t *testing.T) {
	conn, peer := pipePair(t)
	err := conn.(interface{ CloseWrite() error }).CloseWrite()
	require.ErrorIs(t, err, errors.ErrUnsupported)
	go func() { _, _ = conn.Write([]byte("still works")) }()
	got := make([]byte, 11)
	_, err = io.ReadFull(peer, got)
	require.NoError(t, err)
	for name, f := range map[string]func() error{
		"File":        func() error { _, err := conn.(interface{ File() (*os.File, error) }).File(); return err },
		"SyscallConn": func() error { _, err := conn.(sysConn).SyscallConn(); return err },
	} {
		require.ErrorIs(t, f(), netpoll.ErrUnsupported, name)
	}
}

// The memory of a connection that waits in a Read. The figure is in docs/netconn.md.
func TestIdleWrappedConnectionIsSmall(t *testing.T) {
	const n, most = 500, 12 << 10
	peers, conns := make([]net.Conn, n), make([]netpoll.Connection, n)
	own := make([]net.Conn, n)
	for i := range n {
		own[i], peers[i] = net.Pipe()
	}
	before := inUse()
	for i := range n {
		conns[i] = wrap(t, own[i])
		testkit.Send(t, peers[i], "x")
		require.NoError(t, conns[i].Reader().Skip(1))
		require.NoError(t, conns[i].Reader().Release())
	}
	each := (inUse() - before) / n
	t.Logf("%d bytes for each connection, stack and memory to read into included", each)
	require.Less(t, each, int64(most))
	for _, p := range peers {
		p.Close()
	}
	runtime.KeepAlive(conns)
}

// inUse is the memory of the heap and of stacks.
func inUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}
