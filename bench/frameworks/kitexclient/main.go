// Command kitexclient loads a Kitex server. It is not measured, and the same for each: Kitex over package net, with a
// connection for each call under way.
package main

import (
	"context"
	"errors"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/client/genericclient"
	"github.com/cloudwego/kitex/pkg/connpool"
	"github.com/cloudwego/kitex/pkg/generic"
	"github.com/cloudwego/kitex/pkg/klog"
	"github.com/cloudwego/kitex/pkg/remote/trans/gonet"
	"github.com/cloudwego/kitex/transport"

	"github.com/cloudwego/netpoll/bench/frameworks/internal/echo"
	"github.com/cloudwego/netpoll/bench/internal/caller"
	"github.com/cloudwego/netpoll/bench/internal/frame"
)

func main() {
	klog.SetLevel(klog.LevelFatal)
	caller.Main(library{})
}

type library struct{}

// Dial makes a client with one connection, which carries one call at a time.
func (library) Dial(addr string) (caller.Conn, error) {
	c, err := genericclient.NewClient(echo.Service, generic.BinaryThriftGenericV2(echo.Service),
		client.WithHostPorts(addr),
		client.WithTransportProtocol(transport.TTHeaderFramed),
		client.WithLongConnection(connpool.IdleConfig{MaxIdlePerAddress: 1, MaxIdleGlobal: 1, MaxIdleTimeout: time.Minute}),
		client.WithDialer(gonet.NewDialer()),
		client.WithTransHandlerFactory(gonet.NewCliTransHandlerFactory()))
	if err != nil {
		return nil, err
	}
	return &conn{c: c}, nil
}

func (library) DialMux(string, func([]byte, error)) (caller.Mux, error) {
	return nil, errors.New("not for shared connections")
}

type conn struct{ c genericclient.Client }

func (c *conn) Alive() bool  { return true }
func (c *conn) Close() error { return c.c.Close() }

// Call implements caller.Conn.
func (c *conn) Call(t *frame.Template, stamp uint64) error {
	request := make([]byte, echo.Size(t.Len()))
	t.Put(echo.Put(request, echo.Argument), stamp)
	response, err := c.c.GenericCall(context.Background(), echo.Method, request)
	if err != nil {
		return err
	}
	s, err := echo.Get(response.([]byte))
	if err != nil {
		return err
	}
	return t.Verify(s, stamp)
}
