package mux_test

// ShardQueue when its connection fails or a getter panics, and the getters it drops.

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/runner"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/mux"
)

// closedEvent returns a channel that is closed when conn runs its CloseCallbacks.
func closedEvent(t *testing.T, conn netpoll.Connection) <-chan struct{} {
	t.Helper()
	closed := make(chan struct{})
	require.NoError(t, conn.AddCloseCallback(func(netpoll.Connection) error {
		close(closed)
		return nil
	}))
	return closed
}

// Behaviour 7.1: a write error closes the connection.
// Behaviour 7.2: the getters that it costs are reported, not silent.
func TestWriteErrorClosesTheConnectionAndIsReported(t *testing.T) {
	cases := []struct {
		name string
		fail func(w *mockWriter, err error)
	}{
		{"append", func(w *mockWriter, err error) { w.onAppend = func() error { return err } }},
		{"flush", func(w *mockWriter, err error) { w.onFlush = func() error { return err } }},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			conn := newMockConn()
			c.fail(&conn.writer, netpoll.Exception(syscall.EPIPE, "when flush"))
			closed := closedEvent(t, conn)
			q := mux.NewShardQueue(2, conn)
			q.Add(text(t, "x"))
			testkit.Receive(t, closed, "the connection's end")
			require.Equal(t, 1, conn.closeCount())

			require.ErrorIs(t, q.Err(), syscall.EPIPE)
			err := q.Close()
			require.ErrorIs(t, err, syscall.EPIPE)
			require.ErrorContains(t, err, "1 getters not sent")
			require.Empty(t, conn.writer.sentBytes())
			require.ErrorIs(t, q.Close(), netpoll.ErrConnClosed)
		})
	}
}

// Behaviour 7.2: getters that wait when the connection ends are called, which frees their buffers, and counted.
func TestGettersWaitingAtTheEndAreCalledAndCounted(t *testing.T) {
	conn := newMockConn()
	inFlush, goOn := make(chan struct{}), make(chan struct{})
	conn.writer.onFlush = func() error {
		close(inFlush)
		<-goOn
		return netpoll.Exception(netpoll.ErrWriteTimeout, "when flush")
	}
	closed := closedEvent(t, conn)
	q := mux.NewShardQueue(4, conn)
	q.Add(text(t, "x"))
	testkit.Receive(t, inFlush, "the flush")
	var called atomic.Int32
	for range 10 {
		buf := filled(t, "y")
		q.Add(func() (netpoll.Writer, bool) {
			called.Add(1)
			return buf, false
		})
	}
	close(goOn)
	testkit.Receive(t, closed, "the connection's end")
	require.EqualValues(t, 10, called.Load())
	err := q.Close()
	require.ErrorIs(t, err, netpoll.ErrWriteTimeout)
	require.ErrorContains(t, err, "11 getters not sent")
}

// Behaviour 7.2: a getter added after the end is called, its buffer freed, and Err says so.
func TestGetterAddedAfterTheEndIsDroppedAndReported(t *testing.T) {
	conn := newMockConn()
	q := mux.NewShardQueue(2, conn)
	require.NoError(t, q.Close())

	buf := filled(t, "too late")
	get, called := mark()
	gts := []mux.WriterGetter{func() (netpoll.Writer, bool) { return buf, false }, get}
	q.Add(gts...)
	clear(gts) // the queue must have its own copy
	testkit.Receive(t, called, "the dropped getters")
	require.Zero(t, buf.Len(), "the memory of the dropped buffer was not freed")
	require.ErrorIs(t, q.Err(), netpoll.ErrConnClosed)
	require.ErrorContains(t, q.Err(), "2 getters not sent")
	require.Empty(t, conn.writer.sentBytes())
	require.Zero(t, conn.writer.flushCount())
}

func TestGetterDroppedInsideAGetterDoesNotDeadlock(t *testing.T) {
	conn := newMockConn()
	q := mux.NewShardQueue(1, conn)
	require.NoError(t, q.Close())
	last, called := mark()
	q.Add(func() (netpoll.Writer, bool) {
		q.Add(last)
		return nil, true
	})
	testkit.Receive(t, called, "the inner getter")
}

// Behaviour 7.1: Kitex closes the queue in a CloseCallback of the connection, which the queue itself closes after a
// write error.
func TestCloseInACloseCallbackDoesNotDeadlock(t *testing.T) {
	conn := newMockConn()
	failure := errors.New("failure")
	conn.writer.onAppend = func() error { return failure }
	q := mux.NewShardQueue(2, conn)
	result := make(chan error, 1)
	require.NoError(t, conn.AddCloseCallback(func(netpoll.Connection) error {
		result <- q.Close()
		return nil
	}))
	closed := closedEvent(t, conn)
	q.Add(text(t, "x"), text(t, "y"))
	testkit.Receive(t, closed, "the connection's end")
	err := <-result
	require.ErrorIs(t, err, failure)
	require.ErrorContains(t, err, "2 getters not sent")
}

// Behaviour 5.7: a panic in a callback closes that connection, is reported, and the process lives on.
func TestPanicInAGetterClosesTheConnectionAndIsReported(t *testing.T) {
	reports := make(chan any, 4)
	runner.OnPanic(func(_ context.Context, v any, _ []byte) { reports <- v })
	t.Cleanup(func() { runner.OnPanic(nil) })
	conn := newMockConn()
	closed := closedEvent(t, conn)
	q := mux.NewShardQueue(1, conn)
	get, called := mark()
	q.Add(
		func() (netpoll.Writer, bool) { panic("boom") },
		func() (netpoll.Writer, bool) { panic("boom while dropped") },
		get,
	)
	testkit.Receive(t, called, "the getter after those that panic")
	testkit.Receive(t, closed, "the connection's end")
	require.Equal(t, "boom", <-reports)
	require.Equal(t, "boom while dropped", <-reports)
	require.ErrorContains(t, q.Close(), "boom")
	require.Equal(t, 1, conn.closeCount())
}

// A getter that ends its goroutine, as tests do that fail, is reported and ends the queue: the others are called and
// counted, and neither the connection nor Close waits for anything.
func TestGetterThatEndsItsGoroutineEndsTheQueue(t *testing.T) {
	reports := make(chan any, 4)
	runner.OnPanic(func(_ context.Context, v any, _ []byte) { reports <- v })
	t.Cleanup(func() { runner.OnPanic(nil) })
	conn := newMockConn()
	closed := closedEvent(t, conn)
	q := mux.NewShardQueue(2, conn)
	var called atomic.Int32
	leave := func() (netpoll.Writer, bool) {
		called.Add(1)
		runtime.Goexit()
		return nil, true
	}
	other := func() (netpoll.Writer, bool) {
		called.Add(1)
		return nil, true
	}
	q.Add(other, leave, other, leave, other)
	testkit.Receive(t, closed, "the connection's end")
	require.ErrorContains(t, q.Err(), "ended its goroutine")
	q.Add(leave, other)
	testkit.Eventually(t, func() bool { return called.Load() == 7 })
	for range 3 { // one each
		require.Equal(t, runner.ErrGoexit, <-reports)
	}
	require.Empty(t, reports)
	require.Equal(t, 1, conn.closeCount())
	require.ErrorContains(t, q.Close(), "getters not sent")
}
