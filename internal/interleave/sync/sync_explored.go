//go:build interleave

// Package sync has the types of the standard library's package of that name that the library uses. Taking a lock and
// waiting are steps of the schedule that is explored; see package interleave.
package sync

import (
	"sync"

	"github.com/cloudwego/netpoll/internal/interleave"
)

// Pool is [sync.Pool]: it does not matter which of its values comes out.
type Pool = sync.Pool

// Mutex is [sync.Mutex]. Unlock is no step: no thread can distinguish it from an Unlock just before the next step.
type Mutex struct {
	mu   sync.Mutex
	held bool // mu is locked; guarded by it, and by there being one thread at a time
}

func (m *Mutex) Lock() {
	if !interleave.Await("Lock", m, func() bool { return !m.held }) && interleave.Ending() {
		m.TryLock()
		return
	}
	m.mu.Lock()
	m.held = true
}

func (m *Mutex) TryLock() bool {
	interleave.Step("TryLock", m)
	if !m.mu.TryLock() {
		return false
	}
	m.held = true
	return true
}

func (m *Mutex) Unlock() {
	if interleave.Ending() && !m.held {
		return
	}
	m.held = false
	m.mu.Unlock()
}

// Cond is [sync.Cond], without Signal, which the library does not use.
type Cond struct {
	L sync.Locker

	real   sync.Cond
	rounds int // calls of Broadcast
}

func (c *Cond) Wait() {
	if interleave.Active() == nil {
		c.real.L = c.L
		c.real.Wait()
		return
	}
	interleave.Step("Wait", c)
	round := c.rounds
	c.L.Unlock()
	interleave.Await("be woken", c, func() bool { return c.rounds != round })
	c.L.Lock()
}

func (c *Cond) Broadcast() {
	interleave.Step("Broadcast", c)
	c.rounds++
	c.real.Broadcast()
}

// Go is the go statement.
func Go(f func()) {
	if r := interleave.Active(); r != nil {
		r.Go("go", f)
	} else if !interleave.Ending() {
		go f()
	}
}
