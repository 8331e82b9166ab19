package main

// This file holds the server's end: it handles each request in a goroutine of its own, which sends the answer.

import (
	"context"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/mux"
)

// queueKey is the key of a connection's queue in its context.
type queueKey struct{}

// newServer makes a server that answers requests with what handle returns.
func newServer(handle func(request string) string, opts ...netpoll.Option) (netpoll.EventLoop, error) {
	onConnect := func(ctx context.Context, conn netpoll.Connection) context.Context {
		return context.WithValue(ctx, queueKey{}, mux.NewShardQueue(0, conn))
	}
	onRequest := func(ctx context.Context, conn netpoll.Connection) error {
		queue := ctx.Value(queueKey{}).(*mux.ShardQueue)
		return forEachFrame(conn, func(f frame) {
			go func() {
				f.text = handle(f.text)
				send(queue, f)
			}()
		})
	}
	return netpoll.NewEventLoop(onRequest, append(opts, netpoll.WithOnConnect(onConnect))...)
}

// send queues a frame. The queue sends the frames of several goroutines with one system call.
func send(queue *mux.ShardQueue, f frame) {
	queue.Add(func() (netpoll.Writer, bool) {
		b, err := f.buffer()
		return b, err != nil
	})
}
