// Command http answers HTTP/1.1 requests with their bodies: -mode net by net/http, -mode fasthttp by fasthttp.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"

	"github.com/valyala/fasthttp"

	"github.com/cloudwego/netpoll/bench/internal/serve"
)

func main() {
	serve.Main(func(cfg serve.Config) (string, error) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		switch cfg.Mode {
		case "net":
			go func() { panic(http.Serve(ln, http.HandlerFunc(echo))) }()
		case "fasthttp":
			go func() { panic(fasthttp.Serve(ln, fastEcho)) }()
		default:
			return "", fmt.Errorf("unknown mode %q", cfg.Mode)
		}
		return ln.Addr().String(), nil
	})
}

// bodies pools *[]byte for request bodies.
var bodies = sync.Pool{New: func() any { return new([]byte) }}

// echo reads the whole body first: net/http drops the unread part when a response begins.
func echo(w http.ResponseWriter, r *http.Request) {
	n := int(max(0, r.ContentLength))
	buf := bodies.Get().(*[]byte)
	defer bodies.Put(buf)
	if cap(*buf) < n {
		*buf = make([]byte, n)
	}
	body := (*buf)[:n]
	if _, err := io.ReadFull(r.Body, body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.Itoa(n))
	_, _ = w.Write(body) // fails if the client has closed the connection
}

func fastEcho(ctx *fasthttp.RequestCtx) {
	ctx.SetContentType("application/octet-stream")
	ctx.SetBody(ctx.PostBody())
}
