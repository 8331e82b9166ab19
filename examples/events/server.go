package main

// This file holds the server. Its handler reads the request and starts the work, which has the context of the connection:
// netpoll notices that a client has gone without a read or a write, and cancels it.

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/framing"
)

const (
	head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
	// interval is the time between two events.
	interval = 10 * time.Millisecond
	// sending is how long a client may take no more.
	sending = 10 * time.Second
)

var requests = framing.Delimiter{Delim: "\r\n\r\n", Limit: 8 << 10}

// newServer returns a server whose work for a client reports why it has ended.
func newServer(ended func(reason error)) (netpoll.EventLoop, error) {
	onRequest := func(ctx context.Context, conn netpoll.Connection) error {
		r := conn.Reader()
		defer r.Release()
		_, ok, err := framing.TryNext(r, requests)
		if err != nil {
			return errors.Join(err, conn.Close())
		}
		if !ok {
			return nil
		}
		go func() {
			defer conn.Close()
			ended(work(ctx, conn))
		}()
		return conn.SetOnRequest(ignore)
	}
	return netpoll.NewEventLoop(onRequest, netpoll.WithConnContext(), netpoll.WithWriteTimeout(sending))
}

// work sends an event now and then, until ctx ends or the client takes no more.
func work(ctx context.Context, conn netpoll.Connection) error {
	if _, err := conn.Write([]byte(head)); err != nil {
		return err
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		if _, err := fmt.Fprintf(conn, "data: %d\n\n", n); err != nil {
			return err
		}
	}
}

// ignore is the handler of a client that has made its request: nothing more is expected.
func ignore(_ context.Context, conn netpoll.Connection) error {
	r := conn.Reader()
	defer r.Release()
	return r.Skip(r.Len())
}
