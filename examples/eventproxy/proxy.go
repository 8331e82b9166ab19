package main

// This file holds the proxy: an event loop, and for each client a connection to the server behind it. Half-open
// connections are allowed on both sides: when one side half-closes, the proxy half-closes the other one, and the answer
// still comes through.

import (
	"context"
	"log"
	"sync/atomic"
	"time"

	"github.com/cloudwego/netpoll"
)

const dialTimeout = 5 * time.Second

// newProxy makes a server that connects each of its clients to addr.
func newProxy(addr string) (netpoll.EventLoop, error) {
	onConnect := func(ctx context.Context, client netpoll.Connection) context.Context {
		l, err := connect(client, addr)
		if err != nil {
			log.Printf("proxy: %v", err)
			client.Close()
			return ctx
		}
		return context.WithValue(ctx, linkKey{}, l)
	}
	onRequest := func(ctx context.Context, client netpoll.Connection) error {
		l := ctx.Value(linkKey{}).(*link)
		return l.pass(client, l.server, &l.clientEnded)
	}
	return netpoll.NewEventLoop(onRequest, netpoll.WithOnConnect(onConnect), netpoll.WithAllowHalfOpen())
}

// linkKey is the key of a client's link in its context.
type linkKey struct{}

// link is a client and its connection to the server behind the proxy.
type link struct {
	client, server           netpoll.Connection
	clientEnded, serverEnded atomic.Bool // that side has half-closed, and the proxy has half-closed the other
}

// connect dials for a client. From then on each of the two connections closes the other.
func connect(client netpoll.Connection, addr string) (*link, error) {
	server, err := netpoll.DialConnection("tcp", addr, dialTimeout)
	if err != nil {
		return nil, err
	}
	l := &link{client: client, server: server}
	closeBoth := func(netpoll.Connection) error { l.close(); return nil }
	_ = client.AddCloseCallback(closeBoth)
	_ = server.AddCloseCallback(closeBoth)
	if err := server.(netpoll.HalfOpener).SetAllowHalfOpen(true); err != nil {
		l.close()
		return nil, err
	}
	err = server.SetOnRequest(func(_ context.Context, server netpoll.Connection) error {
		return l.pass(server, l.client, &l.serverEnded)
	})
	return l, err
}

func (l *link) close() {
	l.client.Close()
	l.server.Close()
}

// pass moves the input of src to dst, and then the end of the stream. It is the OnRequest of src, which netpoll calls
// for input and a last time for the end. A slow dst slows src down: while Flush waits, the proxy does not read from src,
// so the sender has to wait.
func (l *link) pass(src, dst netpoll.Connection, ended *atomic.Bool) error {
	last := !src.IsActive() // read before the input: if src has ended, all of its input is in the Reader
	if err := move(src, dst); err != nil {
		l.close()
		return err
	}
	if !last || ended.Swap(true) {
		return nil
	}
	if err := dst.(netpoll.HalfCloser).CloseWrite(); err != nil || l.clientEnded.Load() && l.serverEnded.Load() {
		l.close() // both directions have ended
		return err
	}
	return nil
}

// move moves all input that has arrived, without copying it.
func move(src, dst netpoll.Connection) error {
	r, w := src.Reader(), dst.Writer()
	n := r.Len()
	if n == 0 {
		return nil
	}
	part, err := r.Slice(n)
	if err != nil {
		return err
	}
	if err := w.Append(part.(netpoll.Writer)); err != nil { // a Slice is a *LinkBuffer
		return err
	}
	return w.Flush()
}
