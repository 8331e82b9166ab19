// Command kitex is a Kitex server that returns its argument: -mode netpoll over the library that it is built with, -mode
// net over package net.
package main

import (
	"context"
	"fmt"
	"net"

	"github.com/cloudwego/kitex/pkg/klog"
	"github.com/cloudwego/kitex/pkg/remote/trans/gonet"
	"github.com/cloudwego/kitex/server"
	"github.com/cloudwego/kitex/server/genericserver"

	"github.com/cloudwego/netpoll/bench/frameworks/internal/echo"
	"github.com/cloudwego/netpoll/bench/internal/serve"
)

func main() {
	serve.Main(func(cfg serve.Config) (string, error) {
		klog.SetLevel(klog.LevelFatal) // it logs to where answers go
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		opts := []server.Option{server.WithListener(ln), server.WithExitSignal(func() <-chan error { return nil })}
		switch cfg.Mode {
		case "netpoll":
		case "net":
			opts = append(opts, server.WithTransServerFactory(gonet.NewTransServerFactory()),
				server.WithTransHandlerFactory(gonet.NewSvrTransHandlerFactory()))
		default:
			return "", fmt.Errorf("unknown mode %q", cfg.Mode)
		}
		s := genericserver.NewUnknownServiceOrMethodServer(&genericserver.UnknownServiceOrMethodHandler{DefaultHandler: answer}, opts...)
		go func() { panic(fmt.Sprint("run: ", s.Run())) }()
		return ln.Addr().String(), nil
	})
}

func answer(_ context.Context, _, _ string, request any) (any, error) {
	s, err := echo.Get(request.([]byte))
	if err != nil {
		return nil, err
	}
	out := make([]byte, echo.Size(len(s)))
	copy(echo.Put(out, echo.Result), s)
	return out, nil
}
