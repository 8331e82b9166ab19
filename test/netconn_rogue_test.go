package test

// Connections over net.Conns that break what package net promises.

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/stretchr/testify/require"
)

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
