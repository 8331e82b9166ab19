// Command hertz runs the HTTP server and client of Hertz over TLS connections of package netpoll. One port has HTTP/1.1
// and HTTP/2: ALPN decides. Hertz by itself has TLS over package net only.
//
// The file transport.go is what Hertz needs for it.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"

	"github.com/cloudwego/hertz/pkg/app"
	"github.com/cloudwego/hertz/pkg/app/client"
	"github.com/cloudwego/hertz/pkg/app/server"
	"github.com/cloudwego/hertz/pkg/common/hlog"
	"github.com/cloudwego/hertz/pkg/protocol"
	"github.com/cloudwego/hertz/pkg/protocol/suite"
	"github.com/cloudwego/netpoll/examples/internal/cert"
	"github.com/hertz-contrib/http2/config"
	"github.com/hertz-contrib/http2/factory"
)

func main() {
	hlog.SetLevel(hlog.LevelError)
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// run serves on a free port and makes two requests.
func run(ctx context.Context, w io.Writer) (err error) {
	serverConfig, clientConfig, err := cert.New()
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	h := newServer(ln, serverConfig)
	ran := make(chan error, 1)
	go func() { ran <- h.Run() }()
	defer func() { err = errors.Join(err, h.Shutdown(ctx), <-ran) }()

	for _, version := range []string{suite.HTTP1, suite.HTTP2} {
		c, err := newClient(version, clientConfig)
		if err != nil {
			return err
		}
		answer, err := get(ctx, c, "https://"+ln.Addr().String()+"/hello")
		c.CloseIdleConnections()
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s: %q\n", version, answer)
	}
	return nil
}

// newServer returns a server of both versions. Hertz adds http/1.1 to the protocols of the config.
func newServer(ln net.Listener, config *tls.Config) *server.Hertz {
	config.NextProtos = []string{suite.HTTP2}
	h := server.New(server.WithListener(ln), server.WithDisablePrintRoute(true),
		server.WithTransport(NewTransporter), server.WithTLS(config), server.WithALPN(true))
	h.AddProtocol(suite.HTTP2, factory.NewServerFactory())
	h.GET("/hello", func(_ context.Context, c *app.RequestContext) { c.String(http.StatusOK, "hello over TLS") })
	h.POST("/echo", func(_ context.Context, c *app.RequestContext) {
		c.Data(http.StatusOK, "application/octet-stream", c.Request.Body())
	})
	return h
}

// newClient returns a client of one version.
func newClient(version string, tlsConfig *tls.Config) (*client.Client, error) {
	tlsConfig = tlsConfig.Clone()
	tlsConfig.NextProtos = []string{version}
	c, err := client.NewClient(client.WithDialer(NewDialer()), client.WithTLSConfig(tlsConfig))
	if err == nil && version == suite.HTTP2 {
		c.SetClientFactory(factory.NewClientFactory(config.WithDialer(NewDialer()), config.WithTLSConfig(tlsConfig)))
	}
	return c, err
}

func get(ctx context.Context, c *client.Client, url string) (answer string, err error) {
	req, resp := protocol.AcquireRequest(), protocol.AcquireResponse()
	defer protocol.ReleaseRequest(req)
	defer protocol.ReleaseResponse(resp)
	req.SetRequestURI(url)
	err = c.Do(ctx, req, resp)
	return string(resp.Body()), err
}
