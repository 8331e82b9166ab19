// Package overnet is the server over package net, or over what is like its connections.
package overnet

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/cloudwego/netpoll/bench/internal/frame"
	"github.com/cloudwego/netpoll/bench/internal/serve"
)

// Serve starts a server, and returns its address. wrap may put something between its connections and the network.
func Serve(work serve.Work, wrap func(net.Listener) net.Listener) (addr string, err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go Accept(wrap(ln), func(conn net.Conn) error {
		err := answer(conn, work)
		if errors.Is(err, errReset) {
			return io.EOF
		}
		return err
	})
	return ln.Addr().String(), nil
}

// Accept accepts for ever, and runs answer for each connection. What it returns is reported, but for [io.EOF].
func Accept(ln net.Listener, answer func(net.Conn) error) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			panic(fmt.Sprint("accept: ", err))
		}
		go func() {
			defer conn.Close()
			if err := answer(conn); !errors.Is(err, io.EOF) {
				fmt.Fprintln(os.Stderr, err)
			}
		}()
	}
}

// answer answers requests until the connection ends, and returns the error that ended it.
func answer(conn net.Conn, work serve.Work) error {
	var big, out []byte // grown as needed and used again
	in := bufio.NewReaderSize(conn, 4<<10)
	for {
		header, err := in.Peek(frame.HeaderLen)
		if err != nil {
			return err
		}
		n := frame.HeaderLen + frame.PayloadLen(header)
		var request []byte
		if n <= in.Size() {
			request, err = in.Peek(n)
		} else {
			if cap(big) < n {
				big = make([]byte, n)
			}
			request = big[:n]
			_, err = io.ReadFull(in, request) // bytes that are not buffered are read straight from the connection
		}
		if err != nil {
			return err
		}
		work.Do(request[frame.HeaderLen:])
		out = append(out, request...)
		if n <= in.Size() {
			if _, err := in.Discard(n); err != nil {
				return err
			}
		}
		if another(in) {
			continue
		}
		if _, err := conn.Write(out); err != nil {
			return err
		}
		out = out[:0]
	}
}

// another reports whether a whole request is buffered.
func another(in *bufio.Reader) bool {
	if in.Buffered() < frame.HeaderLen {
		return false
	}
	header, err := in.Peek(frame.HeaderLen)
	return err == nil && in.Buffered() >= frame.HeaderLen+frame.PayloadLen(header)
}
