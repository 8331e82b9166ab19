package main

// This file holds the connections of each library.

import (
	"io"
	"net"
	"time"

	"github.com/cloudwego/netpoll"

	"github.com/cloudwego/netpoll/bench/internal/local"
)

// dialTime is how long a server may take to take a connection.
const dialTime = 10 * time.Second

// put fills out with messages of that size.
func put(out []byte, kind local.Kind, size int, first uint64) {
	for ; len(out) > 0; out = out[size:] {
		local.Put(out[:size], kind, first)
		first++
	}
}

// netpollConn is a connection of this library.
type netpollConn struct{ conn netpoll.Connection }

func dialNetpoll(cfg config) (conn, error) {
	c, err := local.Dial(cfg.over, cfg.addr, dialTime)
	if err != nil {
		return nil, err
	}
	return netpollConn{c}, nil
}

func (c netpollConn) send(kind local.Kind, size, n int, first uint64) error {
	w := c.conn.Writer()
	out, err := w.Malloc(n * size)
	if err != nil {
		return err
	}
	put(out, kind, size, first)
	return w.Flush()
}

func (c netpollConn) receive(size int) (number uint64, err error) {
	p, err := c.conn.Reader().Next(size)
	if err != nil {
		return 0, err
	}
	if number, err = local.Check(p); err != nil {
		return 0, err
	}
	return number, c.conn.Reader().Release()
}

func (c netpollConn) close() error { return c.conn.Close() }

// netConn is a connection of package net.
type netConn struct {
	net.Conn
	out, in []byte
}

func dialNet(cfg config) (conn, error) {
	c, err := net.DialTimeout("unix", cfg.addr, dialTime)
	if err != nil {
		return nil, err
	}
	return &netConn{Conn: c, out: make([]byte, cfg.batch*cfg.size), in: make([]byte, cfg.size)}, nil
}

func (c *netConn) send(kind local.Kind, size, n int, first uint64) error {
	out := c.out[:n*size]
	put(out, kind, size, first)
	_, err := c.Write(out)
	return err
}

func (c *netConn) receive(size int) (number uint64, err error) {
	if _, err := io.ReadFull(c, c.in[:size]); err != nil {
		return 0, err
	}
	return local.Check(c.in[:size])
}

func (c *netConn) close() error { return c.Close() }
