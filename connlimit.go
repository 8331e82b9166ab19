package netpoll

// This file holds the connection limit of a server: it counts connections, says whether the server takes one more, and
// reports when the last one has gone. It knows neither connections nor listeners.

import (
	"slices"

	"github.com/cloudwego/netpoll/internal/interleave/sync"
)

// limiter counts the connections of a server up to a limit. Each is acquired before it is accepted, and released at its
// very end. The methods may be called from any goroutine and do not block.
type limiter struct {
	max int // how many connections there are at most; 0 or less: no limit

	// mu guards the fields below. No other lock is taken under it.
	mu      sync.Mutex
	held    int // connections that were acquired and not released
	closed  bool
	waiting []limitWaiter // those refused since the last release

	// empty is closed when the limiter has been closed and nothing is held any more.
	empty chan struct{}
}

// limitWaiter was refused at the limit.
type limitWaiter interface {
	// released is called, once, when a connection has been released since then.
	released()
}

func newLimiter(limit int) limiter { return limiter{max: limit, empty: make(chan struct{})} }

// acquire counts one connection more. At the limit it returns false, and the next release calls w.released. It also
// returns false once the limiter is closed.
func (l *limiter) acquire(w limitWaiter) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.admits(w) {
		return false
	}
	l.held++
	return true
}

// add counts one connection more, whatever the limit. Another one is held meanwhile.
func (l *limiter) add() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held++
}

// hasRoom is acquire without counting anything.
func (l *limiter) hasRoom(w limitWaiter) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.admits(w)
}

// admits reports whether there may be one more. If the limit refuses, w waits. The caller holds mu.
func (l *limiter) admits(w limitWaiter) bool {
	switch {
	case l.closed:
		return false
	case l.max <= 0 || l.held < l.max:
		return true
	}
	l.waiting = append(l.waiting, w)
	return false
}

// count is how many are held.
func (l *limiter) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held
}

// forget removes w from the waiting ones.
func (l *limiter) forget(w limitWaiter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = slices.DeleteFunc(l.waiting, func(other limitWaiter) bool { return other == w })
}

// release undoes acquire and calls all that wait: a single one may have nothing to accept any more.
func (l *limiter) release() {
	for _, w := range l.drop() {
		w.released()
	}
}

// drop is release, but it returns the waiting ones instead of calling them.
func (l *limiter) drop() (waiting []limitWaiter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held--
	l.closeIfDone()
	waiting, l.waiting = l.waiting, nil
	return waiting
}

// close makes the limiter refuse all from now on. It must be called once at most.
func (l *limiter) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.closeIfDone()
}

// closeIfDone closes empty if it is time. The caller holds mu.
func (l *limiter) closeIfDone() {
	if l.closed && l.held == 0 {
		close(l.empty)
	}
}
