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
	"sync"
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

// underlying is what a connection over a net.Conn offers beyond others.
type underlying interface{ NetConn() net.Conn }

func TestWrappedPipesConformToNetConn(t *testing.T) {
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

// inWrite returns when a Flush of some bytes over a pipe that nobody reads is blocked in Write.
func inWrite(t *testing.T, conn netpoll.Connection) <-chan error {
	t.Helper()
	return testkit.Blocked(t, func() error { _, err := conn.Write(testkit.Pattern(100)); return err })
}

func TestBlockedWriteFollowsADeadlineThatIsMoved(t *testing.T) {
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

// stubConn is a net.Conn whose methods can be exchanged. It has no deadlines: setting one has no effect.
type stubConn struct {
	net.Conn
	read  func(p []byte) (int, error)
	write func(p []byte) (int, error)
	close func() error
}

func (c *stubConn) Read(p []byte) (int, error) {
	if c.read == nil {
		return c.Conn.Read(p)
	}
	return c.read(p)
}

func (c *stubConn) Write(p []byte) (int, error) {
	if c.write == nil {
		return c.Conn.Write(p)
	}
	return c.write(p)
}

func (c *stubConn) Close() error {
	if c.close == nil {
		return c.Conn.Close()
	}
	return c.close()
}

func (*stubConn) SetDeadline(time.Time) error      { return nil }
func (*stubConn) SetReadDeadline(time.Time) error  { return nil }
func (*stubConn) SetWriteDeadline(time.Time) error { return nil }

// newStub returns a stubConn over one end of a pipe whose other end is closed when the test ends.
func newStub(t *testing.T) *stubConn {
	own, peer := net.Pipe()
	t.Cleanup(func() { peer.Close(); own.Close() })
	return &stubConn{Conn: own}
}

func TestCloseEndsANetConnThatHeedsNoDeadline(t *testing.T) {
	conn := wrap(t, newStub(t))
	written := inWrite(t, conn)
	read := testkit.Blocked(t, func() error { _, err := conn.Reader().Next(1); return err })
	testkit.Within(t, testkit.Timeout, func() { conn.Close() })
	require.ErrorIs(t, testkit.Receive(t, written), net.ErrClosed)
	require.ErrorIs(t, testkit.Receive(t, read), net.ErrClosed)

	conn = wrap(t, newStub(t))
	testkit.Eventually(t, func() bool { return readersOf("(*stubConn).Read") > 0 })
	err := conn.(interface{ Detach() error }).Detach()
	require.ErrorIs(t, err, netpoll.ErrUnsupported)
	require.False(t, conn.IsActive())
}

// readersOf counts the goroutines inside a function.
func readersOf(function string) int {
	return bytes.Count([]byte(testkit.Stacks()), []byte(function))
}

func TestErrorsOfANetConnKeepTheirChain(t *testing.T) {
	odd := errors.New("the line is dead")
	t.Run("reading", func(t *testing.T) {
		stub := newStub(t)
		var parts atomic.Int32
		stub.read = func(p []byte) (int, error) { // the last bytes come together with the error
			if parts.Add(1) == 1 {
				return copy(p, "last"), odd
			}
			return 0, odd
		}
		conn := wrap(t, stub)
		testkit.Eventually(t, func() bool { return !conn.IsActive() })
		s, err := conn.Reader().ReadString(4)
		require.NoError(t, err)
		require.Equal(t, "last", s)
		_, err = conn.Read(make([]byte, 1))
		require.ErrorIs(t, err, odd)
		require.ErrorIs(t, err, netpoll.ErrConnClosed)
		require.NotErrorIs(t, err, io.EOF)
		ctx := conn.(interface{ Context() context.Context }).Context()
		require.ErrorIs(t, context.Cause(ctx), odd)
	})
	t.Run("writing", func(t *testing.T) {
		stub := newStub(t)
		var taken []byte
		stub.write = func(p []byte) (int, error) {
			taken = append(taken, p[:2]...)
			return 2, odd
		}
		conn := wrap(t, stub)
		n, err := conn.Write([]byte("abcdef"))
		require.ErrorIs(t, err, odd)
		require.ErrorIs(t, err, netpoll.ErrConnClosed)
		require.Equal(t, 2, n)
		require.Equal(t, "ab", string(taken))
		require.False(t, conn.IsActive())
	})
}

func TestNetConnThatBreaksItsPromisesIsNotTrusted(t *testing.T) {
	for name, read := range map[string]func(p []byte) (int, error){
		"too many":     func(p []byte) (int, error) { return len(p) + 1, nil },
		"negative":     func([]byte) (int, error) { return -1, nil },
		"always empty": func([]byte) (int, error) { return 0, nil },
	} {
		t.Run(name, func(t *testing.T) {
			stub := newStub(t)
			stub.read = read
			conn := wrap(t, stub)
			_, err := conn.Read(make([]byte, 8))
			require.Error(t, err)
			require.NotErrorIs(t, err, io.EOF)
			require.False(t, conn.IsActive())
		})
	}
	for name, write := range map[string]func(p []byte) (int, error){
		"too many": func(p []byte) (int, error) { return len(p) + 1, nil },
		"short":    func(p []byte) (int, error) { return 0, nil },
	} {
		t.Run("write "+name, func(t *testing.T) {
			stub := newStub(t)
			stub.write = write
			_, err := wrap(t, stub).Write([]byte("abc"))
			require.Error(t, err)
		})
	}
}

func TestTricklingNetConnDeliversEverything(t *testing.T) {
	stub := newStub(t)
	data := testkit.Pattern(20_000)
	var mu sync.Mutex
	rest := data
	stub.read = func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		if len(rest) == 0 {
			return 0, io.EOF
		}
		n := copy(p, rest[:1])
		rest = rest[n:]
		return n, nil
	}
	got, err := io.ReadAll(wrap(t, stub))
	require.NoError(t, err)
	require.True(t, bytes.Equal(data, got))
}

func TestCloseThatBlocksOrFailsConcernsNobodyElse(t *testing.T) {
	stub := newStub(t)
	proceed, closes := make(chan struct{}), atomic.Int32{}
	stub.close = func() error {
		closes.Add(1)
		_ = stub.Conn.Close()
		<-proceed
		return errors.New("cannot be closed")
	}
	conn := wrap(t, stub)
	closed := make(chan error, 1)
	go func() { closed <- conn.Close() }()
	testkit.Eventually(t, func() bool { return closes.Load() == 1 })
	require.False(t, conn.IsActive())
	_, err := conn.Write([]byte("x"))
	require.ErrorIs(t, err, net.ErrClosed)
	close(proceed)
	require.NoError(t, testkit.Receive(t, closed))
	require.EqualValues(t, 1, closes.Load())
}

// What a connection costs that waits in a Read. The figure is in docs/netconn.md.
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
