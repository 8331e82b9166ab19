// Command net is the server over package net. Each connection has a goroutine and a buffered reader. Requests that have
// arrived together are answered with one write.
package main

import (
	"net"

	"github.com/cloudwego/netpoll/bench/internal/overnet"
	"github.com/cloudwego/netpoll/bench/internal/serve"
)

func main() {
	serve.Main(func(cfg serve.Config) (string, error) {
		return overnet.Serve(cfg.Work, func(ln net.Listener) net.Listener { return ln })
	})
}
