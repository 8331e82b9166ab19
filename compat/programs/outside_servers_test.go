package programs

// The HTTP servers for curl and wrk: net/http, fasthttp and Hertz on the library, with the same site on each.

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudwego/hertz/pkg/app"
	"github.com/cloudwego/hertz/pkg/app/middlewares/server/recovery"
	"github.com/cloudwego/hertz/pkg/app/server"
	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"
)

// outsideSite is a running server.
//
//	GET  /ip          the address of the client
//	GET  /blob?n=N    N bytes of pattern(0, N)
//	GET  /chunks?n=N  the same in chunks
//	POST /echo        the body of the request
//	POST /sum         the digest of the body
//	GET  /boom        a panic
type outsideSite struct {
	name      string
	addr      string
	authority string // a file with the certificate that clients trust
	layer     layer  // of all connections
	blobs     atomic.Int64
	left      chan int // gets the number of unsent bytes of each body that was closed before its end
}

func (s *outsideSite) url(path string) string {
	if s.layer != nil {
		return "https://" + s.addr + path
	}
	return "http://" + s.addr + path
}

// dial opens a connection of package net, or of crypto/tls. Its deadline limits all that the test does with it.
func (s *outsideSite) dial(t *testing.T) net.Conn {
	t.Helper()
	if s.layer == nil {
		return rawDial(t, s.addr)
	}
	conn, err := s.layer.dial(timeLimit(t), "tcp", s.addr, false)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	return conn
}

// overOutsideSites runs test with each server, and with each over TLS if the library under test has that.
func overOutsideSites(t *testing.T, test func(t *testing.T, s *outsideSite)) {
	for name, start := range map[string]func(*testing.T, *outsideSite){
		"nethttp": startOutsideHTTP, "fasthttp": startOutsideFast, "hertz": startOutsideHertz,
	} {
		t.Run(name, func(t *testing.T) {
			s := &outsideSite{name: name, left: make(chan int, 16)}
			start(t, s)
			test(t, s)
		})
		if newOwnLayer == nil {
			continue
		}
		t.Run(name+"-TLS", func(t *testing.T) {
			s := &outsideSite{name: name, left: make(chan int, 16), layer: newOwnLayer(t)}
			s.authority = fileOf(t, s.layer.authority())
			start(t, s)
			test(t, s)
		})
	}
}

// blob is a body of the pattern. Close reports how many bytes are left.
type blob struct {
	io.Reader
	rest *bytes.Reader
	site *outsideSite
	once sync.Once
}

func (s *outsideSite) newBlob(n int) *blob {
	s.blobs.Add(1)
	r := bytes.NewReader(pattern(0, n))
	return &blob{Reader: struct{ io.Reader }{r}, rest: r, site: s} // without WriteTo, so that servers copy in pieces
}

func (b *blob) Close() error {
	b.once.Do(func() {
		if b.rest.Len() == 0 {
			return
		}
		select {
		case b.site.left <- b.rest.Len():
		default: // the test does not want it
		}
	})
	return nil
}

func startOutsideHTTP(t *testing.T, s *outsideSite) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ip", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.RemoteAddr) })
	mux.HandleFunc("GET /blob", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.FormValue("n"))
		b := s.newBlob(n)
		defer b.Close()
		w.Header().Set("Content-Length", strconv.Itoa(n))
		_, _ = io.Copy(w, b)
	})
	mux.HandleFunc("GET /chunks", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.FormValue("n"))
		b := s.newBlob(n)
		defer b.Close()
		_ = http.NewResponseController(w).Flush() // so that the length is not known
		_, _ = io.Copy(w, b)
	})
	mux.HandleFunc("POST /echo", echoBody)
	mux.HandleFunc("POST /sum", func(w http.ResponseWriter, r *http.Request) {
		sum, err := digestOf(r.Body)
		fmt.Fprint(w, sum, orNothing(err))
	})
	mux.HandleFunc("GET /boom", func(http.ResponseWriter, *http.Request) { panic("boom") })
	s.addr = startSite(t, sides{server: true, layer: s.layer}, http1, mux).addr
}

func orNothing(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func startOutsideFast(t *testing.T, s *outsideSite) {
	s.addr = startFast(t, sides{server: true, layer: s.layer}, func(ctx *fasthttp.RequestCtx) {
		n, _ := ctx.QueryArgs().GetUint("n")
		switch string(ctx.Path()) {
		case "/ip":
			ctx.SetBodyString(ctx.RemoteAddr().String())
		case "/blob":
			ctx.SetBodyStream(s.newBlob(n), n)
		case "/chunks":
			ctx.SetBodyStream(s.newBlob(n), -1)
		case "/echo":
			body, err := io.ReadAll(ctx.RequestBodyStream())
			if err != nil {
				ctx.Error(err.Error(), fasthttp.StatusBadRequest)
				return
			}
			ctx.SetBody(body)
		case "/sum":
			sum, err := digestOf(ctx.RequestBodyStream())
			ctx.SetBodyString(sum + orNothing(err))
		case "/boom":
			panic("boom")
		default:
			ctx.NotFound()
		}
	}, func(f *fastSite) { f.server.StreamRequestBody = true }).addr
}

func startOutsideHertz(t *testing.T, s *outsideSite) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s.addr = ln.Addr().String()
	if s.layer != nil {
		ln = s.layer.listener(ln, true)
	}
	h := server.New(
		server.WithListener(ln), server.WithDisablePrintRoute(true), server.WithExitWaitTime(patience),
		server.WithReadTimeout(patience), server.WithWriteTimeout(patience),
		server.WithStreamBody(true), server.WithMaxRequestBodySize(64<<20))
	h.Use(recovery.Recovery())
	h.GET("/ip", func(_ context.Context, c *app.RequestContext) {
		c.String(http.StatusOK, c.RemoteAddr().String())
	})
	h.GET("/blob", func(_ context.Context, c *app.RequestContext) {
		n, _ := strconv.Atoi(c.Query("n"))
		c.SetBodyStream(s.newBlob(n), n)
	})
	h.GET("/chunks", func(_ context.Context, c *app.RequestContext) {
		n, _ := strconv.Atoi(c.Query("n"))
		c.SetBodyStream(s.newBlob(n), -1)
	})
	h.POST("/echo", func(_ context.Context, c *app.RequestContext) {
		body, err := io.ReadAll(c.RequestBodyStream())
		if err != nil {
			c.String(http.StatusBadRequest, err.Error())
			return
		}
		c.Data(http.StatusOK, "application/octet-stream", body)
	})
	h.POST("/sum", func(_ context.Context, c *app.RequestContext) {
		sum, err := digestOf(c.RequestBodyStream())
		c.String(http.StatusOK, "%s", sum+orNothing(err))
	})
	h.GET("/boom", func(context.Context, *app.RequestContext) { panic("boom") })
	ran := make(chan error, 1)
	go func() { ran <- h.Run() }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		require.NoError(t, h.Shutdown(ctx))
		require.NoError(t, await(t, ran, "the end of Run"))
	})
	require.Eventually(t, h.IsRunning, patience, 1e6, "Hertz did not start")
}
