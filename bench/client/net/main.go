// Command net is the client over package net. A shared connection has two goroutines: one reads, the other writes
// everything that is queued with one call.
package main

import (
	"bufio"
	"crypto/tls"
	"errors"
	"flag"
	"io"
	"net"
	"sync"

	"github.com/cloudwego/netpoll/bench/internal/caller"
	"github.com/cloudwego/netpoll/bench/internal/frame"
	"github.com/cloudwego/netpoll/bench/internal/secure"
)

func main() {
	var lib library
	flag.Func("tls", "full: calls go over TLS; resumed: the same, and sessions are resumed", func(how string) error {
		if how != "full" && how != "resumed" {
			return errors.New("full or resumed")
		}
		lib.config = secure.Client(how == "resumed")
		return nil
	})
	caller.Main(&lib)
}

type library struct{ config *tls.Config }

// dial connects, with TLS if there is a configuration.
func (lib *library) dial(addr string) (net.Conn, error) {
	if lib.config == nil {
		return net.Dial("tcp", addr)
	}
	return tls.Dial("tcp", addr, lib.config)
}

func (lib *library) Dial(addr string) (caller.Conn, error) {
	c, err := lib.dial(addr)
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c, in: bufio.NewReaderSize(c, 4<<10)}, nil
}

// conn is a connection for one call at a time.
type conn struct {
	net.Conn
	in  *bufio.Reader
	buf []byte // the request, then the response
}

// Alive returns true always: package net cannot say without reading.
func (c *conn) Alive() bool { return true }

func (c *conn) Call(t *frame.Template, stamp uint64) error {
	if c.buf == nil {
		c.buf = make([]byte, t.Len())
	}
	t.Put(c.buf, stamp)
	if _, err := c.Write(c.buf); err != nil {
		return err
	}
	response, err := read(c.in, &c.buf)
	if err != nil {
		return err
	}
	return t.Verify(response, stamp)
}

// read reads a message. The result is valid until the next read from in; it is in buf if it does not fit into in.
func read(in *bufio.Reader, buf *[]byte) ([]byte, error) {
	header, err := in.Peek(frame.HeaderLen)
	if err != nil {
		return nil, err
	}
	n := frame.HeaderLen + frame.PayloadLen(header)
	if n <= in.Size() {
		msg, err := in.Peek(n)
		if err != nil {
			return nil, err
		}
		_, err = in.Discard(n) // what Peek showed stays until the next read
		return msg, err
	}
	if cap(*buf) < n {
		*buf = make([]byte, n)
	}
	_, err = io.ReadFull(in, (*buf)[:n])
	return (*buf)[:n], err
}

// mux is a shared connection.
type mux struct {
	conn net.Conn

	mu     sync.Mutex // guards the fields below
	queued []byte
	closed bool
	filled sync.Cond // signalled when queued or closed has changed
}

func (lib *library) DialMux(addr string, received func([]byte, error)) (caller.Mux, error) {
	c, err := lib.dial(addr)
	if err != nil {
		return nil, err
	}
	m := &mux{conn: c}
	m.filled.L = &m.mu
	go m.write(received)
	go func() {
		in := bufio.NewReaderSize(c, 64<<10)
		var buf []byte
		for {
			msg, err := read(in, &buf)
			received(msg, err)
			if err != nil {
				return
			}
		}
	}()
	return m, nil
}

func (m *mux) Send(t *frame.Template, stamp uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := len(m.queued)
	if cap(m.queued)-n < t.Len() {
		m.queued = append(make([]byte, 0, 2*cap(m.queued)+t.Len()), m.queued...)
	}
	m.queued = m.queued[:n+t.Len()]
	t.Put(m.queued[n:], stamp)
	m.filled.Signal()
	return nil
}

// write writes queued requests until the connection is closed or broken.
func (m *mux) write(received func([]byte, error)) {
	var out []byte
	for {
		m.mu.Lock()
		for len(m.queued) == 0 && !m.closed {
			m.filled.Wait()
		}
		out, m.queued = m.queued, out[:0]
		closed := m.closed
		m.mu.Unlock()
		if closed {
			return
		}
		if _, err := m.conn.Write(out); err != nil {
			received(nil, err)
			return
		}
	}
}

func (m *mux) Close() error {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.filled.Signal()
	return m.conn.Close()
}
