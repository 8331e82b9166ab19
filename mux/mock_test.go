package mux_test

// A connection made of memory for the tests of this package: it keeps what was appended until Flush, can be made to
// fail or to block, and counts what was done with it.

import (
	"bytes"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/mux"
)

// mockConn is a Connection of which only Writer, Close, IsActive and AddCloseCallback exist; anything else that the
// queue might call panics on the nil interface.
type mockConn struct {
	netpoll.Connection
	writer mockWriter

	mu        sync.Mutex // guards the fields below
	closes    int
	callbacks []netpoll.CloseCallback
}

func newMockConn() *mockConn { return &mockConn{} }

func (c *mockConn) Writer() netpoll.Writer { return &c.writer }

// IsActive is false, as it is in clients' own mocks: a queue that asks would send nothing.
func (c *mockConn) IsActive() bool { return false }

func (c *mockConn) AddCloseCallback(callback netpoll.CloseCallback) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.callbacks = append(c.callbacks, callback)
	return nil
}

// Close runs the callbacks before it returns, the first time.
func (c *mockConn) Close() error {
	c.mu.Lock()
	c.closes++
	callbacks := c.callbacks
	c.callbacks = nil
	c.mu.Unlock()
	for _, callback := range callbacks {
		_ = callback(c)
	}
	return nil
}

func (c *mockConn) closeCount() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closes
}

// mockWriter is a Writer of which only Append and Flush exist.
type mockWriter struct {
	netpoll.Writer
	onAppend func() error // called for each Append, before it takes the buffer
	onFlush  func() error // called for each Flush, before it sends

	mu      sync.Mutex // guards the fields below
	pending bytes.Buffer
	sent    bytes.Buffer
	flushes int
}

func (w *mockWriter) Append(buf netpoll.Writer) error {
	if w.onAppend != nil {
		if err := w.onAppend(); err != nil {
			return err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	b := buf.(*netpoll.LinkBuffer)
	p, err := b.ReadBinary(b.Len())
	if err != nil {
		return err
	}
	w.pending.Write(p)
	return b.Close()
}

func (w *mockWriter) Flush() error {
	if w.onFlush != nil {
		if err := w.onFlush(); err != nil {
			return err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flushes++
	_, err := w.pending.WriteTo(&w.sent)
	return err
}

func (w *mockWriter) sentBytes() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sent.String()
}

func (w *mockWriter) flushCount() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.flushes
}

// text returns a getter of s.
func text(t testing.TB, s string) mux.WriterGetter {
	t.Helper()
	buf := filled(t, s)
	return func() (netpoll.Writer, bool) { return buf, false }
}

// filled returns a flushed buffer with s in it.
func filled(t testing.TB, s string) *netpoll.LinkBuffer {
	t.Helper()
	buf := netpoll.NewLinkBuffer()
	_, err := buf.WriteString(s)
	require.NoError(t, err)
	require.NoError(t, buf.Flush())
	return buf
}

// mark returns a getter that has nothing to send and closes called when it is called.
func mark() (get mux.WriterGetter, called chan struct{}) {
	called = make(chan struct{})
	return func() (netpoll.Writer, bool) {
		close(called)
		return nil, true
	}, called
}

// held returns a getter that says it was entered and waits for release, so that whatever is added meanwhile is queued.
func held() (get mux.WriterGetter, entered, release chan struct{}) {
	entered, release = make(chan struct{}), make(chan struct{})
	return func() (netpoll.Writer, bool) {
		close(entered)
		<-release
		return nil, true
	}, entered, release
}
