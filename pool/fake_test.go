package pool_test

// Connections made of memory: what a pool asks of them is set by the test.

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/pool"
)

// fakeConn has only what a pool calls; anything else panics on the nil interface.
type fakeConn struct {
	netpoll.Connection
	number int
	gone   atomic.Bool // its peer has ended it
	dirty  atomic.Bool // something unread is in the socket
	input  netpoll.LinkBuffer

	mu       sync.Mutex // guards the fields below
	closed   bool
	callback []netpoll.CloseCallback
}

func (c *fakeConn) IsActive() bool { return !c.gone.Load() && !c.isClosed() }
func (c *fakeConn) IsHealthyForReuse(time.Duration) bool {
	return !c.dirty.Load() && c.input.Len() == 0
}
func (c *fakeConn) Reader() netpoll.Reader { return &c.input }

func (c *fakeConn) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

func (c *fakeConn) AddCloseCallback(callback netpoll.CloseCallback) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.callback = append(c.callback, callback)
	return nil
}

func (c *fakeConn) Close() error {
	c.mu.Lock()
	callbacks := c.callback
	c.closed, c.callback = true, nil
	c.mu.Unlock()
	for _, callback := range callbacks {
		_ = callback(c)
	}
	return nil
}

// factory dials fakeConns, and keeps them.
type factory struct {
	fail atomic.Pointer[error]

	mu    sync.Mutex // guards conns
	conns []*fakeConn
}

func (f *factory) dial(context.Context) (netpoll.Connection, error) {
	if err := f.fail.Load(); err != nil {
		return nil, *err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	conn := &fakeConn{number: len(f.conns)}
	f.conns = append(f.conns, conn)
	return conn, nil
}

// made returns a pool of fakeConns. The test closes it.
func made(t testing.TB, config pool.Config) (*pool.Pool, *factory) {
	t.Helper()
	f := new(factory)
	config.Dial = f.dial
	p, err := pool.New(config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	return p, f
}

func get(t testing.TB, p *pool.Pool) *fakeConn {
	t.Helper()
	conn, err := p.Get(t.Context())
	require.NoError(t, err)
	return conn.(*fakeConn)
}
