// Command http runs the HTTP server and client of package net/http over connections of package netpoll. net/http needs
// no change for it: a Listener is a net.Listener, and a Connection a net.Conn.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptrace"
	"os"

	"github.com/cloudwego/netpoll"
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// run serves on a free port and makes some requests.
func run(ctx context.Context, w io.Writer) error {
	ln, err := netpoll.CreateListener("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: newHandler()}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()

	err = makeRequests(ctx, "http://"+ln.Addr().String(), w)
	err = errors.Join(err, srv.Shutdown(ctx))
	if e := <-served; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, e)
	}
	return err
}

func newHandler() http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("GET /hello", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "hello over netpoll")
	})
	m.HandleFunc("POST /size", func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "%d bytes, error %v", n, err)
	})
	return m
}

func makeRequests(ctx context.Context, url string, w io.Writer) error {
	transport := &http.Transport{DialContext: new(netpoll.NetDialer).DialContext}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}

	for _, r := range []struct {
		method, path string
		body         []byte
	}{
		{"GET", "/hello", nil},
		{"POST", "/size", make([]byte, 1<<20)},
		{"GET", "/hello", nil},
	} {
		answer, reused, err := request(ctx, client, r.method, url+r.path, r.body)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s %s: %q, on a kept connection: %v\n", r.method, r.path, answer, reused)
	}
	return nil
}

// request returns the body of the response, and whether the client reused a connection.
func request(ctx context.Context, c *http.Client, method, url string, body []byte) (answer string, reused bool,
	err error) {
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) { reused = info.Reused },
	})
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
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
