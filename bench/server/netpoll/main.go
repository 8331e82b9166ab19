// Command netpoll is the server over this library, and, built with -modfile=ref.mod, the same source over
// cloudwego/netpoll v0.7.3.
package main

import (
	"context"
	"fmt"

	"github.com/cloudwego/netpoll"

	"github.com/cloudwego/netpoll/bench/internal/overnetpoll"
	"github.com/cloudwego/netpoll/bench/internal/serve"
)

func main() {
	serve.Main(func(cfg serve.Config) (string, error) {
		if err := netpoll.Configure(netpoll.Config{PollerNum: cfg.Loops}); err != nil {
			return "", err
		}
		loop, err := netpoll.NewEventLoop(func(_ context.Context, conn netpoll.Connection) error {
			return overnetpoll.Answer(conn, cfg.Work)
		})
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
	})
}
