// Command tls is the server of TLS: over this library, over package net, and over nbio with the copy of crypto/tls that
// its author maintains.
package main

import (
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
	return overnetpoll.Serve(cfg, netpoll.WithTLSConfig(config))
}

func overNet(cfg serve.Config) (string, error) {
	config, err := secure.Server()
	if err != nil {
		return "", err
	}
	return overnet.Serve(cfg.Work, func(ln net.Listener) net.Listener { return tls.NewListener(ln, config) })
}
