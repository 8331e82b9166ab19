// Command netpoll is the client over this library, and, built with -modfile=ref.mod, the same source over
// cloudwego/netpoll v0.7.3. A shared connection sends through a mux.ShardQueue and receives in its handler.
package main

import (
	"context"
	"errors"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/mux"

	"github.com/cloudwego/netpoll/bench/internal/caller"
	"github.com/cloudwego/netpoll/bench/internal/frame"
)

func main() { caller.Main(library{}) }

const dialTimeout = 10 * time.Second

type library struct{}

func (library) Dial(addr string) (caller.Conn, error) {
	c, err := netpoll.DialConnection("tcp", addr, dialTimeout)
	if err != nil {
		return nil, err
	}
	return conn{c}, nil
}

// conn is a connection for one call at a time.
type conn struct{ netpoll.Connection }

func (c conn) Alive() bool { return c.IsActive() }

func (c conn) Call(t *frame.Template, stamp uint64) error {
	r, w := c.Reader(), c.Writer()
	request, err := w.Malloc(t.Len())
	if err != nil {
		return err
	}
	t.Put(request, stamp)
	if err := w.Flush(); err != nil {
		return err
	}
	response, err := next(r)
	if err != nil {
		return err
	}
	return errors.Join(t.Verify(response, stamp), r.Release())
}

// next consumes and returns the next message. It waits until the message is complete.
func next(r netpoll.Reader) ([]byte, error) {
	header, err := r.Peek(frame.HeaderLen)
	if err != nil {
		return nil, err
	}
	return r.Next(frame.HeaderLen + frame.PayloadLen(header))
}

// shared is a connection for many calls at once.
type shared struct {
	conn  netpoll.Connection
	queue *mux.ShardQueue
}

func (library) DialMux(addr string, received func([]byte, error)) (caller.Mux, error) {
	c, err := netpoll.DialConnection("tcp", addr, dialTimeout)
	if err != nil {
		return nil, err
	}
	err = errors.Join(
		c.AddCloseCallback(func(netpoll.Connection) error {
			received(nil, netpoll.ErrConnClosed)
			return nil
		}),
		c.SetOnRequest(func(_ context.Context, c netpoll.Connection) error {
			return take(c.Reader(), received)
		}))
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return &shared{c, mux.NewShardQueue(mux.ShardSize, c)}, nil
}

// take passes the messages that have arrived to received. It waits for the first.
func take(r netpoll.Reader, received func([]byte, error)) error {
	for {
		msg, err := next(r)
		if err != nil {
			return err
		}
		received(msg, nil)
		if r.Len() < frame.HeaderLen {
			break
		}
		header, err := r.Peek(frame.HeaderLen)
		if err != nil {
			return err
		}
		if r.Len() < frame.HeaderLen+frame.PayloadLen(header) {
			break
		}
	}
	return r.Release()
}

func (s *shared) Send(t *frame.Template, stamp uint64) error {
	s.queue.Add(func() (netpoll.Writer, bool) {
		buf := netpoll.NewLinkBuffer()
		request, err := buf.Malloc(t.Len())
		if err != nil {
			panic(err) // a new buffer has room for any size
		}
		t.Put(request, stamp)
		return buf, false
	})
	return nil
}

func (s *shared) Close() error { return s.conn.Close() }
