package main

// This file holds the pool: connections to one server that are kept for the next request.

import (
	"context"
	"sync"

	"github.com/cloudwego/netpoll"
)

// pool hands out connections to one address. Any goroutine may call its methods.
type pool struct {
	addr string

	// mu guards the fields below.
	mu     sync.Mutex
	idle   []netpoll.Connection
	counts counts
}

// counts has how many connections were dialed, reused, and found dead.
type counts struct{ dialed, reused, dead int }

// get returns a connection that is alive at this moment. The check costs no system call, because the poller has noticed
// the end of an idle connection when it arrived.
func (p *pool) get(ctx context.Context) (netpoll.Connection, error) {
	for conn := p.pop(); conn != nil; conn = p.pop() {
		if conn.IsActive() {
			p.count(counts{reused: 1})
			return conn, nil
		}
		conn.Close()
		p.count(counts{dead: 1})
	}
	conn, err := netpoll.DialContext(ctx, "tcp", p.addr)
	if err != nil {
		return nil, err
	}
	p.count(counts{dialed: 1})
	return conn, nil
}

// put takes back a connection without an open request or an unread answer. It closes a connection with unexpected input,
// which must not be used for another request.
func (p *pool) put(conn netpoll.Connection) {
	if !conn.IsActive() || conn.Reader().Len() > 0 {
		conn.Close()
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = append(p.idle, conn)
}

// pop takes the connection that was used last, or returns nil.
func (p *pool) pop() netpoll.Connection {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) == 0 {
		return nil
	}
	last := len(p.idle) - 1
	conn := p.idle[last]
	p.idle[last] = nil
	p.idle = p.idle[:last]
	return conn
}

func (p *pool) count(c counts) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts.dialed += c.dialed
	p.counts.reused += c.reused
	p.counts.dead += c.dead
}

func (p *pool) stats() counts {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counts
}

func (p *pool) close() {
	for conn := p.pop(); conn != nil; conn = p.pop() {
		conn.Close()
	}
}
