// Command hertz is a Hertz server that answers requests with their bodies: -mode netpoll over the library that it is
// built with, -mode net over package net.
package main

import (
	"context"
	"fmt"
	"net"

	"github.com/cloudwego/hertz/pkg/app"
	"github.com/cloudwego/hertz/pkg/app/server"
	"github.com/cloudwego/hertz/pkg/common/config"
	"github.com/cloudwego/hertz/pkg/common/hlog"
	"github.com/cloudwego/hertz/pkg/network/netpoll"
	"github.com/cloudwego/hertz/pkg/network/standard"

	"github.com/cloudwego/netpoll/bench/internal/serve"
)

func main() {
	serve.Main(func(cfg serve.Config) (string, error) {
		hlog.SetLevel(hlog.LevelFatal) // it logs to where answers go
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		opts := []config.Option{server.WithListener(ln), server.WithDisablePrintRoute(true)}
		switch cfg.Mode {
		case "netpoll":
			opts = append(opts, server.WithTransport(netpoll.NewTransporter))
		case "net":
			opts = append(opts, server.WithTransport(standard.NewTransporter))
		default:
			return "", fmt.Errorf("unknown mode %q", cfg.Mode)
		}
		h := server.New(opts...)
		h.POST("/echo", func(_ context.Context, c *app.RequestContext) {
			c.Response.Header.SetContentType("application/octet-stream")
			c.Response.SetBody(c.Request.Body())
		})
		go func() { panic(fmt.Sprint("run: ", h.Run())) }()
		return ln.Addr().String(), nil
	})
}
