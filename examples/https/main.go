// Command https runs a small HTTPS server on an EventLoop, and a client of net/http over TLSDialer. A connection that waits
// for its next request has no goroutine and no record buffer. The handler gets plaintext, and is otherwise as without TLS.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/examples/internal/cert"
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// run serves on a free port and makes some requests.
func run(ctx context.Context, w io.Writer) error {
	serverConfig, clientConfig, err := cert.New()
	if err != nil {
		return err
	}
	serverConfig.NextProtos = []string{"http/1.1"}
	loop, err := netpoll.NewEventLoop(onRequest, netpoll.WithTLSConfig(serverConfig), netpoll.WithOnTLSHandshakeError(
		func(conn net.Conn, err error) { log.Printf("no TLS with %v: %v", conn.RemoteAddr(), err) }))
	if err != nil {
		return err
	}
	ln, err := netpoll.CreateListener("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- loop.Serve(ln) }()

	transport := &http.Transport{DialTLSContext: (&netpoll.TLSDialer{Config: clientConfig}).DialContext}
	err = makeRequests(ctx, &http.Client{Transport: transport}, "https://"+ln.Addr().String(), w)
	transport.CloseIdleConnections()
	return errors.Join(err, loop.Shutdown(ctx), <-served)
}

func makeRequests(ctx context.Context, c *http.Client, url string, w io.Writer) error {
	for _, body := range [][]byte{nil, make([]byte, 100_000), nil} {
		answer, reused, err := post(ctx, c, url, body)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%d bytes: %q, on a kept connection: %v\n", len(body), answer, reused)
	}
	return nil
}

// post returns the body of the answer, and whether the client reused a connection.
func post(ctx context.Context, c *http.Client, url string, body []byte) (answer string, reused bool, err error) {
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) { reused = info.Reused },
	})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return "", false, err
	}
	resp, err := c.Do(req)
	if err != nil {
		return "", false, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return string(text), reused, err
}
