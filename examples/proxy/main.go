// Command proxy forwards TCP connections to another server, each direction by itself: when one side half-closes, the
// proxy half-closes the other one, and the answer still comes through. proxy.go has the proxy.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"

	"github.com/cloudwego/netpoll"
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// run sends a message through a proxy to a server that answers only after the end of the message.
func run(ctx context.Context, w io.Writer) error {
	upstream, err := netpoll.CreateListener("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go serveSums(upstream)
	defer upstream.Close()

	loop, err := newProxy(upstream.Addr().String())
	if err != nil {
		return err
	}
	ln, err := netpoll.CreateListener("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- loop.Serve(ln) }()

	err = ask(ctx, ln.Addr().String(), w)
	return errors.Join(err, loop.Shutdown(ctx), <-served)
}

// serveSums answers each client with the number of bytes that it has sent. It is written like a server on package net,
// because a Listener is a net.Listener and Accept returns a net.Conn.
func serveSums(ln net.Listener) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return // the listener is closed
		}
		go func() {
			defer conn.Close()
			n, err := io.Copy(io.Discard, conn)
			fmt.Fprintf(conn, "%d bytes, error %v", n, err)
		}()
	}
}

// ask is the client: it sends 5 MB, half-closes, and waits for the answer.
func ask(ctx context.Context, addr string, w io.Writer) error {
	conn, err := netpoll.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	sent, err := io.Copy(conn, bytes.NewReader(make([]byte, 5_000_000)))
	if err != nil {
		return err
	}
	if err := conn.(netpoll.HalfCloser).CloseWrite(); err != nil {
		return err
	}
	fmt.Fprintf(w, "sent %d bytes and then the end of the stream\n", sent)
	answer, err := io.ReadAll(conn)
	fmt.Fprintf(w, "answer: %s\n", answer)
	return err
}
