// Package overnetpoll is the server over this library, or over the reference.
package overnetpoll

import (
	"context"
	"fmt"

	"github.com/cloudwego/netpoll"

	"github.com/cloudwego/netpoll/bench/internal/frame"
	"github.com/cloudwego/netpoll/bench/internal/serve"
)

// Serve starts a server with these options, and returns its address.
func Serve(cfg serve.Config, ops ...netpoll.Option) (addr string, err error) {
	if err := netpoll.Configure(netpoll.Config{PollerNum: cfg.Loops}); err != nil {
		return "", err
	}
	loop, err := netpoll.NewEventLoop(func(_ context.Context, conn netpoll.Connection) error {
		return answer(conn, cfg.Work)
	}, ops...)
	if err != nil {
		return "", err
	}
	ln, err := netpoll.CreateListener("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	addr = ln.Addr().String()
	go func() { panic(fmt.Sprint("serve: ", loop.Serve(ln))) }()
	return addr, nil
}

// answer answers the requests that have arrived, and sends all responses with one Flush. It waits until the first is
// complete.
func answer(conn netpoll.Connection, work serve.Work) error {
	r, w := conn.Reader(), conn.Writer()
	for {
		header, err := r.Peek(frame.HeaderLen)
		if err != nil {
			return err
		}
		n := frame.HeaderLen + frame.PayloadLen(header)
		request, err := r.Next(n)
		if err != nil {
			return err
		}
		work.Do(request[frame.HeaderLen:])
		response, err := w.Malloc(n)
		if err != nil {
			return err
		}
		copy(response, request)
		if !another(r) {
			break
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return r.Release()
}

// another reports whether a whole request has arrived.
func another(r netpoll.Reader) bool {
	if r.Len() < frame.HeaderLen {
		return false
	}
	header, err := r.Peek(frame.HeaderLen)
	return err == nil && r.Len() >= frame.HeaderLen+frame.PayloadLen(header)
}
