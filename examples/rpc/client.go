package main

// This file holds the client's end. No goroutine waits for replies: netpoll calls a handler of the dialed connection
// when replies have arrived.

import (
	"context"
	"crypto/tls"
	"sync"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/mux"
)

// client makes calls over one connection, from any number of goroutines.
type client struct {
	conn  netpoll.Connection
	queue *mux.ShardQueue
	ended chan struct{} // closed with the connection

	// mu guards the fields below.
	mu      sync.Mutex
	last    uint64
	waiting map[uint64]chan string // by number of the call; each channel has room for the reply
}

// dial dials with TLS, unless config is nil.
func dial(ctx context.Context, addr string, config *tls.Config) (*client, error) {
	conn, err := connect(ctx, addr, config)
	if err != nil {
		return nil, err
	}
	c := &client{
		conn:    conn,
		queue:   mux.NewShardQueue(0, conn),
		ended:   make(chan struct{}),
		waiting: make(map[uint64]chan string),
	}
	err = conn.AddCloseCallback(func(netpoll.Connection) error {
		close(c.ended)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return c, conn.SetOnRequest(c.onReplies)
}

func connect(ctx context.Context, addr string, config *tls.Config) (netpoll.Connection, error) {
	if config == nil {
		return netpoll.DialContext(ctx, "tcp", addr)
	}
	conn, err := (&netpoll.TLSDialer{Config: config}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return conn.(*netpoll.TLSConnection), nil
}

// Close closes the connection, which ends the calls that are waiting.
func (c *client) Close() error { return c.conn.Close() }

// Call sends a request and waits for its reply, until ctx or the connection ends.
func (c *client) Call(ctx context.Context, request string) (reply string, err error) {
	call, answer := c.register()
	defer c.forget(call)
	send(c.queue, frame{call, request})
	select {
	case reply := <-answer:
		return reply, nil
	case <-c.ended:
		return "", netpoll.Exception(netpoll.ErrConnClosed, "when calling")
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

func (c *client) register() (call uint64, answer chan string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last++
	answer = make(chan string, 1)
	c.waiting[c.last] = answer
	return c.last, answer
}

func (c *client) forget(call uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, call)
}

// onReplies is the connection's handler.
func (c *client) onReplies(_ context.Context, conn netpoll.Connection) error {
	return forEachFrame(conn, func(f frame) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if answer, ok := c.waiting[f.call]; ok { // otherwise the call has been given up
			delete(c.waiting, f.call)
			answer <- f.text
		}
	})
}
