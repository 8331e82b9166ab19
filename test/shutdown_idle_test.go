//go:build linux

package test

// What Shutdown takes for idle: a connection that only waits, that becomes idle outside its handlers, or whose output
// nobody will ever send.

import (
	"context"
	"io"
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

// Behaviour 6.1: what a Flush that timed out has left to send keeps nobody: nobody is going to send it.
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
