package testkit

// This file captures the log of the library.

import (
	"bytes"
	"io"
	"os"
	"sync"
	"testing"
)

// Log collects log output. Any goroutine may call its methods. The zero value is ready for use.
type Log struct {
	mu    sync.Mutex
	text  bytes.Buffer  // guarded by mu, as is wrote
	wrote chan struct{} // has a value if something was written since the last receive; see marks
}

// CaptureLog collects what the library logs until the test ends. set is netpoll.SetLoggerOutput.
func CaptureLog(t testing.TB, set func(io.Writer)) *Log {
	t.Helper()
	l := new(Log)
	set(l)
	t.Cleanup(func() { set(os.Stderr) })
	return l
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p)
	select {
	case l.marks() <- struct{}{}:
	default:
	}
	return len(p), nil
}

// marks returns wrote, and makes it first if it is nil. The caller holds mu.
func (l *Log) marks() chan struct{} {
	if l.wrote == nil {
		l.wrote = make(chan struct{}, 1)
	}
	return l.wrote
}

// Wrote returns a channel that has a value if something was written since the last receive.
func (l *Log) Wrote() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.marks()
}

// String returns all that was written.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Lines returns the number of lines written so far.
func (l *Log) Lines() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Count(l.text.Bytes(), []byte("\n"))
}
