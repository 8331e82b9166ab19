//go:build linux

package test

// What Shutdown takes for idle: a connection that only waits, that becomes idle outside its handlers, or whose output
// no call will ever send; and that it keeps to its context though foreign listeners and net.Conns take long to close.

import (
	"context"
	"io"
	"net"
	"testing"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

// Behaviour 6.1: a connection becomes idle, too, when a goroutine outside the handlers takes the last of its input.
func TestShutdownEndsWhenAGoroutineHasTakenTheLastInput(t *testing.T) {
	handed := make(chan netpoll.Connection, 10)
	s := testnet.NewServer(t, "tcp", func(_ context.Context, conn netpoll.Connection) error {
		handed <- conn
		return nil
	})
	c := s.Dial()
	_, err := io.WriteString(c, "one-way")
	require.NoError(t, err)
	conn := testkit.Receive(t, handed)
	done := shutdownIn(s.Loop)
	testkit.Silent(t, testkit.Calm, done, "Shutdown with unread input")
	require.NoError(t, conn.Reader().Skip(len("one-way")))
	_ = conn.Reader().Release() // the connection may be closed by now
	require.NoError(t, testkit.Receive(t, done))
	_, err = c.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
}

// Behaviour 6.1: a connection that a goroutine outside the handlers waits to read from is idle, whatever it waits in.
func TestShutdownEndsEveryKindOfWaitingRead(t *testing.T) {
	for name, read := range map[string]func(conn netpoll.Connection) error{
		"Next":  func(conn netpoll.Connection) error { _, err := conn.Reader().Next(1); return err },
		"Until": func(conn netpoll.Connection) error { _, err := conn.Reader().Until('\n'); return err },
		"Read":  func(conn netpoll.Connection) error { _, err := conn.Read(make([]byte, 1)); return err },
	} {
		t.Run(name, func(t *testing.T) {
			conns := make(chan netpoll.Connection, 1)
			s := testnet.NewServer(t, "tcp", nil,
				netpoll.WithOnConnect(func(ctx context.Context, conn netpoll.Connection) context.Context {
					conns <- conn
					return ctx
				}))
			s.Dial()
			conn := testkit.Receive(t, conns)
			result := testkit.Blocked(t, func() error { return read(conn) })
			require.NoError(t, testkit.Receive(t, shutdownIn(s.Loop)))
			require.ErrorIs(t, testkit.Receive(t, result), netpoll.ErrConnClosed)
		})
	}
}

// Behaviour 6.1: output that was written after CloseWrite can never be sent: it makes no connection busy.
func TestShutdownDoesNotWaitForOutputAfterCloseWrite(t *testing.T) {
	flushed := make(chan error, 1)
	s := testnet.NewServer(t, "tcp", func(ctx context.Context, conn netpoll.Connection) error {
		_ = testnet.Discard(ctx, conn)
		if err := conn.(halfCloser).CloseWrite(); err != nil {
			t.Errorf("CloseWrite: %v", err)
		}
		_, _ = conn.Writer().WriteString("late")
		flushed <- conn.Writer().Flush()
		return nil
	})
	c := s.Dial()
	_, err := io.WriteString(c, "x")
	require.NoError(t, err)
	require.Error(t, testkit.Receive(t, flushed))
	require.NoError(t, testkit.Receive(t, shutdownIn(s.Loop)))
}

// Behaviour 6.1: output that a timed-out Flush has left does not hold Shutdown up: no call is going to send it.
func TestShutdownDoesNotWaitForWhatAFlushHasLeft(t *testing.T) {
	handled := make(chan error, 1)
	s := testnet.NewServer(t, "tcp", func(_ context.Context, conn netpoll.Connection) error {
		err := conn.Reader().Skip(conn.Reader().Len())
		if err == nil {
			_, err = conn.Writer().WriteBinary(make([]byte, 16<<20))
		}
		if err == nil {
			err = conn.Writer().Flush()
		}
		handled <- err
		return nil
	}, netpoll.WithWriteTimeout(testkit.Short))
	client := s.Dial()
	_, err := io.WriteString(client, "x")
	require.NoError(t, err)
	require.ErrorIs(t, testkit.Receive(t, handled), netpoll.ErrWriteTimeout)
	require.NoError(t, testkit.Receive(t, shutdownIn(s.Loop)))
}

// stubborn is a listener whose connections, and which itself, close only when they are let.
type stubborn struct {
	net.Listener
	closing chan struct{} // holds one mark for each Close that has begun
	let     chan struct{}
}

func (l *stubborn) hold() {
	l.closing <- struct{}{}
	<-l.let
}

func (l *stubborn) Close() error {
	err := l.Listener.Close()
	l.hold()
	return err
}

func (l *stubborn) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return stubbornConn{conn, l}, nil
}

type stubbornConn struct {
	net.Conn
	ln *stubborn
}

func (c stubbornConn) Close() error {
	c.ln.hold()
	return c.Conn.Close()
}

// Behaviour 6.1: Shutdown returns when ctx ends, and closes connections beside each other.
func TestShutdownIsBoundedThoughClosingBlocks(t *testing.T) {
	const clients = 3
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ln := &stubborn{plain, make(chan struct{}, clients+2), make(chan struct{})}
	loop, err := netpoll.NewEventLoop(testnet.Echo)
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- loop.Serve(ln) }()
	for range clients {
		c, err := net.Dial("tcp", plain.Addr().String())
		require.NoError(t, err)
		defer c.Close()
		testkit.ExpectEcho(t, c, "hello")
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- loop.Shutdown(ctx) }()
	for range clients + 1 {
		testkit.Receive(t, ln.closing)
	}
	cancel()
	err = testkit.Receive(t, ended)
	var shutdown *netpoll.ShutdownError
	require.ErrorAs(t, err, &shutdown)
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, shutdown.Busy, "connections that are closed but for their net.Conn")
	close(ln.let)
	require.NoError(t, testkit.Receive(t, served))
}
