package netpoll_test

// This file holds the examples that go with the documentation of single types. Whole programs are in examples.

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/cloudwego/netpoll"
)

// A server is a handler, a listener, and an event loop. This one answers with the length of a line.
func ExampleEventLoop() {
	handle := func(_ context.Context, conn netpoll.Connection) error {
		defer conn.Reader().Release()
		line, err := conn.Reader().Until('\n')
		if err != nil {
			return err
		}
		if _, err := conn.Writer().WriteString(fmt.Sprintf("%d bytes\n", len(line))); err != nil {
			return err
		}
		return conn.Writer().Flush()
	}
	loop, err := netpoll.NewEventLoop(handle, netpoll.WithReadTimeout(10*time.Second))
	if err != nil {
		fmt.Println(err)
		return
	}
	ln, err := netpoll.CreateListener("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	served := make(chan error)
	go func() { served <- loop.Serve(ln) }()

	conn, err := netpoll.DialConnection("tcp", ln.Addr().String(), time.Second)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Fprintln(conn, "how long is this?")
	answer, err := conn.Reader().Until('\n')
	fmt.Printf("%q %v\n", answer, err)
	fmt.Println(conn.Close(), loop.Shutdown(context.Background()), <-served)
	// Output:
	// "18 bytes\n" <nil>
	// <nil> <nil> <nil>
}

// The length of a message is often known only when it has been written: take the memory for it first, fill it last.
func ExampleWriter() {
	var w netpoll.Writer = netpoll.NewLinkBuffer()
	header, _ := w.Malloc(4)
	n, _ := w.WriteString("first part, ")
	m, _ := w.WriteString("second part")
	binary.BigEndian.PutUint32(header, uint32(n+m))
	_ = w.Flush()

	fmt.Printf("%q\n", w.(*netpoll.LinkBuffer).Bytes())
	// Output: "\x00\x00\x00\x17first part, second part"
}

// Slice takes a part of the input out without copying it. It has a Release of its own, so it may outlive the rest.
func ExampleReader() {
	var r netpoll.Reader = bufferOf("headbodytail")
	_ = r.Skip(4)
	body, _ := r.Slice(4)
	tail, _ := r.Next(4)
	fmt.Printf("%s, %d left\n", tail, r.Len())
	_ = r.Release() // tail must not be used from here on; body may

	text, _ := body.ReadString(body.Len())
	fmt.Println(text, body.Release())
	// Output:
	// tail, 0 left
	// body <nil>
}

func bufferOf(text string) *netpoll.LinkBuffer {
	b := netpoll.NewLinkBuffer()
	_, _ = b.WriteString(text)
	_ = b.Flush()
	return b
}

// A NetDialer is all it takes to put package net/http on connections of this package.
func ExampleNetDialer() {
	dialer := &netpoll.NetDialer{Dialer: net.Dialer{Timeout: time.Second}}
	client := &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext}}
	_, err := client.Get("http://127.0.0.1:0")
	fmt.Println(errors.As(err, new(*net.OpError)))
	// Output: true
}
