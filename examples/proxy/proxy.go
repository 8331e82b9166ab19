package main

// This file holds the proxy: an event loop whose OnConnect keeps a connection until both directions have ended.

import (
	"context"
	"io"
	"log"
	"sync"
	"time"

	"github.com/cloudwego/netpoll"
)

const dialTimeout = 5 * time.Second

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
	// No OnRequest: join reads from both connections.
	return netpoll.NewEventLoop(nil, netpoll.WithOnConnect(onConnect))
}

// join forwards both directions and returns when both have ended. An error in one ends the other, too.
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

// forward moves the input of src to dst until the end of the stream, and then half-closes dst. On Linux the bytes stay
// in the kernel. A slow dst slows src down: forward does not read from src meanwhile, so the sender has to wait.
func forward(dst, src netpoll.Connection) error {
	if _, err := io.Copy(dst, src); err != nil {
		return err
	}
	return dst.(netpoll.HalfCloser).CloseWrite()
}
