// Package alarm has alarms that one goroutine sets again and again, such as that of a poll loop's watchdog.
package alarm

import (
	"sync"
	"time"
)

// Alarm calls a function, ring, on a goroutine of its own. Ring returns after how long to call it again; 0 means only
// after the next Set. [New] makes one, which is not set.
type Alarm interface {
	// Set lets ring be called once, after d.
	Set(d time.Duration)
	// Close ends it: a Set that comes later does nothing. A call of ring that has begun may still be running.
	Close()
}

// timer is an alarm that the Go runtime keeps.
type timer struct {
	ring func() time.Duration
	t    *time.Timer

	mu     sync.Mutex // guards closed
	closed bool
}

func newTimer(ring func() (again time.Duration)) *timer {
	t := &timer{ring: ring}
	t.t = time.AfterFunc(time.Hour, t.expired)
	t.t.Stop()
	return t
}

func (t *timer) expired() {
	if again := t.ring(); again > 0 {
		t.Set(again)
	}
}

func (t *timer) Set(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed {
		t.t.Reset(d)
	}
}

func (t *timer) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	t.t.Stop()
}
