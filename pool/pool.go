// Package pool keeps the connections of a client for the next request. It hands out only connections that are fit for
// one: the end of an idle connection is noticed by a poller when it happens, and a look at the socket finds what is still
// unread. Neither takes a goroutine, or a test request.
//
//	p, err := pool.New(pool.Config{
//		Dial: func(ctx context.Context) (netpoll.Connection, error) {
//			return netpoll.DialContext(ctx, "tcp", address)
//		},
//		MaxConns: 100,
//		IdleTime: time.Minute,
//	})
//
//	conn, err := p.Get(ctx)
//	...             // a request and its answer
//	p.Put(conn)     // or conn.Close() after an error: an answer may still arrive
package pool

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/cloudwego/netpoll"
)

// ErrClosed is what Get returns when the pool is closed. It Is [net.ErrClosed].
var ErrClosed = fmt.Errorf("connection pool: %w", net.ErrClosed)

// Config has the settings of a pool.
type Config struct {
	// Dial makes a connection, which belongs to the pool then. Get calls it on its own goroutine, with its context.
	Dial func(ctx context.Context) (netpoll.Connection, error)
	// MaxConns is how many connections there may be, in use, idle or being dialed. Get waits at that number. 0 means no
	// limit.
	MaxConns int
	// MaxIdle is how many idle connections are kept. 0 means no limit but MaxConns, and a negative number none.
	MaxIdle int
	// IdleTime is how long a connection may be idle before it is closed. 0 means no limit. It should be shorter than the
	// time after which the server closes it.
	IdleTime time.Duration
	// NoLook makes Get ask IsActive only, which is one load. Else it asks IsHealthyForReuse, too, which is a system call,
	// and finds a late answer or an end that the poller has not seen yet.
	NoLook bool
}

// Stats tells what a pool has and what it has done since it was made.
type Stats struct {
	InUse, Idle, Dialing, Waiting int // connections; for Waiting, calls of Get

	Dialed   uint64 // connections that were made
	Failed   uint64 // calls of Dial that failed
	Reused   uint64 // calls of Get that returned a connection which had been put back
	Unfit    uint64 // connections closed because of what the peer did, by Get or Put: ended, or sent what nobody asked for
	Expired  uint64 // connections closed because of IdleTime
	Surplus  uint64 // connections closed because of MaxIdle
	Waited   uint64 // calls of Get that had to wait
	GaveUp   uint64 // those whose context ended meanwhile
	WaitTime time.Duration
}

// Pool keeps connections to one server. Any goroutine may call its methods.
type Pool struct {
	config Config

	// mu guards the fields below. No method of a connection that may call the pool is called while it is held.
	mu      sync.Mutex
	closed  bool
	places  int                            // connections there are, and dials under way
	conns   map[netpoll.Connection]*member // those that were dialed and not removed
	idle    []*member                      // the last one was put back last. If there is one, nobody waits
	waiting list.List                      // of *waiter, the first one first
	timer   *time.Timer                    // while there are idle connections, runs expire; else nil
	stats   Stats
}

// member is a connection of the pool.
type member struct {
	conn netpoll.Connection
	idle bool
	till time.Time // when it expires; set while it is idle
}

// waiter is a call of Get that waits for its turn.
type waiter struct {
	ready  chan struct{} // closed when one of the others is set
	member *member       // a connection,
	place  bool          // or the place for one,
	closed bool          // or the end of the pool
}

// New returns a pool without connections. It fails if config has no Dial or a negative MaxConns or IdleTime.
func New(config Config) (*Pool, error) {
	switch {
	case config.Dial == nil:
		return nil, errors.New("make connection pool: no Dial")
	case config.MaxConns < 0 || config.IdleTime < 0:
		return nil, fmt.Errorf("make connection pool: MaxConns %d, IdleTime %v", config.MaxConns, config.IdleTime)
	}
	return &Pool{config: config, conns: make(map[netpoll.Connection]*member)}, nil
}

// Get returns a connection for the caller alone: the idle one that was used last, or else a new one. At MaxConns it waits
// for its turn, in the order of the calls, until ctx ends. The caller hands it to Put, or closes it.
//
// The connection was fit for a request a moment ago. Its peer may have ended it since: a request that fails at once, and
// may be repeated, should be, on another connection. Errors are those of ctx, of Dial, and [ErrClosed].
func (p *Pool) Get(ctx context.Context) (netpoll.Connection, error) {
	if ctx.Err() != nil {
		return nil, fmt.Errorf("get connection: %w", context.Cause(ctx))
	}
	m, err := p.turn(ctx)
	for err == nil && m != nil {
		if p.fit(m.conn) {
			p.mu.Lock()
			p.stats.Reused++
			p.mu.Unlock()
			return m.conn, nil
		}
		m, err = p.another(ctx, m)
	}
	if err != nil {
		return nil, err
	}
	return p.dial(ctx)
}

// turn returns a member that is the caller's, or nil if the caller has a place for a connection instead.
func (p *Pool) turn(ctx context.Context) (*member, error) {
	p.mu.Lock()
	switch {
	case p.closed:
		p.mu.Unlock()
		return nil, ErrClosed
	case len(p.idle) > 0:
		defer p.mu.Unlock()
		return p.pop(), nil
	case p.config.MaxConns == 0 || p.places < p.config.MaxConns:
		defer p.mu.Unlock()
		p.places++
		return nil, nil
	}
	w := &waiter{ready: make(chan struct{})}
	at := p.waiting.PushBack(w)
	p.stats.Waited++
	p.mu.Unlock()
	start := time.Now()
	select {
	case <-w.ready:
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stats.WaitTime += time.Since(start)
	switch {
	case w.closed:
		return nil, ErrClosed
	case w.member != nil || w.place: // also if ctx has ended meanwhile: the caller learns that soon enough
		return w.member, nil
	}
	p.waiting.Remove(at)
	p.stats.GaveUp++
	return nil, fmt.Errorf("get connection: all %d are in use: %w", p.config.MaxConns, context.Cause(ctx))
}

// pop takes the idle connection that was put back last. The caller holds mu.
func (p *Pool) pop() *member {
	last := len(p.idle) - 1
	m := p.idle[last]
	p.idle[last] = nil
	p.idle = p.idle[:last]
	m.idle = false
	return m
}

// healthWait is how long to wait for a receive that is under way when a connection is looked at.
const healthWait = 10 * time.Millisecond

// fit reports whether an idle connection may be used.
func (p *Pool) fit(conn netpoll.Connection) bool {
	if !conn.IsActive() {
		return false
	}
	looker, ok := conn.(netpoll.HealthChecker)
	if !ok || p.config.NoLook {
		return conn.Reader().Len() == 0
	}
	return looker.IsHealthyForReuse(healthWait)
}

// another closes a connection that is not fit, and returns what turn does. The caller does not have to wait again: it has
// the place of that connection.
func (p *Pool) another(ctx context.Context, m *member) (next *member, err error) {
	defer m.conn.Close()
	p.mu.Lock()
	p.stats.Unfit++
	if p.conns[m.conn] == nil { // it has been closed meanwhile, and its place given away
		p.mu.Unlock()
		return p.turn(ctx)
	}
	defer p.mu.Unlock()
	delete(p.conns, m.conn)
	if len(p.idle) > 0 {
		p.places--
		next = p.pop()
	}
	return next, nil
}

// dial makes a connection for the place that the caller has.
func (p *Pool) dial(ctx context.Context) (netpoll.Connection, error) {
	p.mu.Lock()
	p.stats.Dialing++
	p.mu.Unlock()
	dialed := false
	defer func() {
		if !dialed { // also after a panic of Dial
			p.mu.Lock()
			defer p.mu.Unlock()
			p.stats.Dialing--
			p.stats.Failed++
			p.leave()
		}
	}()
	conn, err := p.config.Dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("get connection: %w", err)
	}
	dialed = true
	p.mu.Lock()
	p.stats.Dialing--
	p.stats.Dialed++
	p.conns[conn] = &member{conn: conn}
	closed := p.closed
	p.mu.Unlock()
	_ = conn.AddCloseCallback(p.gone) // the error is always nil
	if closed {
		_ = conn.Close()
		return nil, ErrClosed
	}
	return conn, nil
}

// gone is called when a connection has ended. Its place is free.
func (p *Pool) gone(conn netpoll.Connection) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.conns[conn]
	if m == nil {
		return nil // it was removed before
	}
	delete(p.conns, conn)
	if m.idle {
		at := slices.Index(p.idle, m)
		p.idle = slices.Delete(p.idle, at, at+1)
	}
	p.leave()
	return nil
}

// leave gives a place to the caller that has waited for the longest time, or frees it. The caller holds mu.
func (p *Pool) leave() {
	if w := p.nextWaiter(); w != nil {
		w.place = true
		close(w.ready)
		return
	}
	p.places--
}

// nextWaiter takes the first one. The caller holds mu.
func (p *Pool) nextWaiter() *waiter {
	first := p.waiting.Front()
	if first == nil {
		return nil
	}
	return p.waiting.Remove(first).(*waiter)
}

// Put takes back a connection from Get, for the next caller. No goroutine may use it any more, the answer to each request
// has been read and released, and no deadline, timeout or handler of the last user is left. Put closes it if it is not fit
// for another request, and if the pool is closed or has enough idle ones. It does not wait.
//
// A connection may be put back once for each Get. One that is not the pool's is closed.
func (p *Pool) Put(conn netpoll.Connection) {
	if p.keep(conn, conn.IsActive() && conn.Reader().Len() == 0) {
		return
	}
	_ = conn.Close()
}

// keep is Put, except that it does not close the connection that it does not keep.
func (p *Pool) keep(conn netpoll.Connection, fit bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.conns[conn]
	switch {
	case m == nil:
		return false
	case m.idle:
		return true // put back twice
	}
	if fit && !p.closed {
		if w := p.nextWaiter(); w != nil {
			w.member = m
			close(w.ready)
			return true
		}
		if p.config.MaxIdle == 0 || len(p.idle) < p.config.MaxIdle {
			p.push(m)
			return true
		}
		p.stats.Surplus++
	} else if !fit {
		p.stats.Unfit++
	}
	delete(p.conns, conn)
	p.leave()
	return false
}

// push makes m the idle connection that was used last. The caller holds mu.
func (p *Pool) push(m *member) {
	m.idle = true
	p.idle = append(p.idle, m)
	if p.config.IdleTime == 0 {
		return
	}
	m.till = time.Now().Add(p.config.IdleTime)
	if p.timer == nil {
		p.timer = time.AfterFunc(p.config.IdleTime, p.expire)
	}
}

// expire closes the idle connections whose time is over, and those whose peer is gone.
func (p *Pool) expire() {
	p.mu.Lock()
	now := time.Now()
	var over []netpoll.Connection
	kept := p.idle[:0]
	for _, m := range p.idle {
		switch active := m.conn.IsActive(); {
		case active && m.till.After(now):
			kept = append(kept, m)
			continue
		case active:
			p.stats.Expired++
		default:
			p.stats.Unfit++
		}
		over = append(over, m.conn)
		delete(p.conns, m.conn)
		p.places-- // nobody waits while there are idle ones
	}
	clear(p.idle[len(kept):])
	p.idle = kept
	p.timer = nil
	if len(kept) > 0 && !p.closed {
		p.timer = time.AfterFunc(kept[0].till.Sub(now), p.expire)
	}
	p.mu.Unlock()
	for _, conn := range over {
		_ = conn.Close()
	}
}

// Stats returns the figures of this moment.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	s.Idle = len(p.idle)
	s.InUse = len(p.conns) - s.Idle
	s.Waiting = p.waiting.Len()
	return s
}

// Close closes the idle connections, and ends each Get that waits with [ErrClosed]. Those in use stay open until they are
// put back or closed; it does not wait for them. It returns nil, also when it is called again.
func (p *Pool) Close() error {
	p.mu.Lock()
	p.closed = true
	for w := p.nextWaiter(); w != nil; w = p.nextWaiter() {
		w.closed = true
		close(w.ready)
	}
	idle := p.idle
	p.idle = nil
	for _, m := range idle {
		delete(p.conns, m.conn)
		p.places--
	}
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
	p.mu.Unlock()
	for _, m := range idle {
		_ = m.conn.Close()
	}
	return nil
}
