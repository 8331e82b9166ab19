// Command netpoll is the server over this library, and, built with -modfile=ref.mod, the same source over
// cloudwego/netpoll v0.7.3.
package main

import (
	"github.com/cloudwego/netpoll/bench/internal/overnetpoll"
	"github.com/cloudwego/netpoll/bench/internal/serve"
)

func main() {
	serve.Main(func(cfg serve.Config) (string, error) { return overnetpoll.Serve(cfg) })
}
