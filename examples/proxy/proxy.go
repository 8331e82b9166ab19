package main

// This file holds the proxy: an event loop whose OnConnect keeps a connection until both directions have ended.

import (
	"context"
	"errors"
	"log"
	"sync"
	"time"

	"github.com/cloudwego/netpoll"
)

const dialTimeout = 5 * time.Second

// halfCloser is what every connection of package netpoll has beside the methods of Connection.
type halfCloser interface{ CloseWrite() error }

// newProxy makes a server that connects each of its clients to addr.
func newProxy(addr string) (netpoll.EventLoop, error) {
	onConnect := func(ctx context.Context, client netpoll.Connection) context.Context {
		defer client.Close()
		server, err := netpoll.DialConnection("tcp", addr, dialTimeout)
		if err != nil {
			log.Printf("proxy: %v", err)
			return ctx
		}
		defer server.Close()
		join(client, server)
		return ctx
	}
	// No OnRequest: the two directions read by themselves.
	return netpoll.NewEventLoop(nil, netpoll.WithOnConnect(onConnect))
}

// join forwards both directions and returns when both have ended. An error in one ends the other too.
func join(a, b netpoll.Connection) {
	var group sync.WaitGroup
	for _, way := range [][2]netpoll.Connection{{a, b}, {b, a}} {
		group.Go(func() {
			if err := forward(way[1], way[0]); err != nil {
				log.Printf("proxy: %v", err)
				a.Close()
				b.Close()
			}
		})
	}
	group.Wait()
}

// forward moves what arrives at src to dst, without a copy in between, until the end of the stream, and then passes
// that on. A slow dst holds up src: Flush waits, so src is not read, so its sender has to wait.
func forward(dst, src netpoll.Connection) error {
	for {
		switch err := forwardSome(dst, src); {
		case errors.Is(err, netpoll.ErrEOF):
			return dst.(halfCloser).CloseWrite()
		case err != nil:
			return err
		}
	}
}

// forwardSome waits for input and moves all that has arrived.
func forwardSome(dst, src netpoll.Connection) error {
	r := src.Reader()
	if _, err := r.Peek(1); err != nil {
		return err
	}
	p, err := r.Next(r.Len())
	if err != nil {
		return err
	}
	if _, err := dst.Writer().WriteBinary(p); err != nil {
		return err
	}
	if err := dst.Writer().Flush(); err != nil {
		return err
	}
	return r.Release() // not before Flush: the output still pointed to p
}
