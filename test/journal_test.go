//go:build linux

package test

// The journal, in which callbacks note events in order; and methods of a connection beyond its interface.

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
)

// halfCloser has methods of connections beyond net.Conn; those of package net have them, too.
type halfCloser interface {
	CloseRead() error
	CloseWrite() error
}

// isConnClosed reports whether err is that of a use after Close on this side.
func isConnClosed(err error) bool {
	return errors.Is(err, netpoll.ErrConnClosed) && !errors.Is(err, netpoll.ErrEOF)
}

// journal is the list of events, in order. It may be used from any goroutine.
type journal struct {
	mu      sync.Mutex
	entries []string
}

func (j *journal) add(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries = append(j.entries, fmt.Sprintf(format, args...))
}

func (j *journal) list() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.entries)
}

func (j *journal) count(entry string) (n int) {
	for _, e := range j.list() {
		if e == entry {
			n++
		}
	}
	return n
}

// until waits for an entry.
func (j *journal) until(t testing.TB, entry string) {
	t.Helper()
	testkit.Eventually(t, func() bool { return j.count(entry) > 0 })
}

// noting returns a close callback that leaves an entry.
func (j *journal) noting(entry string) netpoll.CloseCallback {
	return func(netpoll.Connection) error { j.add("%s", entry); return nil }
}
