// Command tls is the server of TLS: over this library, over package net, and over nbio with the copy of crypto/tls that
// its author maintains.
package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"

	"github.com/cloudwego/netpoll"

	"github.com/cloudwego/netpoll/bench/internal/overnet"
	"github.com/cloudwego/netpoll/bench/internal/overnetpoll"
	"github.com/cloudwego/netpoll/bench/internal/secure"
	"github.com/cloudwego/netpoll/bench/internal/serve"
)

func main() {
	serve.Main(func(cfg serve.Config) (string, error) {
		switch cfg.Mode {
		case "netpoll":
			return overNetpoll(cfg)
		case "net":
			return overNet(cfg)
		case "nbio":
			return overNbio(cfg)
		}
		return "", fmt.Errorf("unknown mode %q", cfg.Mode)
	})
}

func overNetpoll(cfg serve.Config) (string, error) {
	config, err := secure.Server()
	if err != nil {
		return "", err
	}
	if err := netpoll.Configure(netpoll.Config{PollerNum: cfg.Loops}); err != nil {
		return "", err
	}
	loop, err := netpoll.NewEventLoop(func(_ context.Context, conn netpoll.Connection) error {
		return overnetpoll.Answer(conn, cfg.Work)
	}, netpoll.WithTLSConfig(config))
	if err != nil {
		return "", err
	}
	ln, err := netpoll.CreateListener("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	addr := ln.Addr().String()
	go func() { panic(fmt.Sprint("serve: ", loop.Serve(ln))) }()
	return addr, nil
}

func overNet(cfg serve.Config) (string, error) {
	config, err := secure.Server()
	if err != nil {
		return "", err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go overnet.Accept(tls.NewListener(ln, config), cfg.Work)
	return ln.Addr().String(), nil
}
