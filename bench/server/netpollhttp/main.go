// Command netpollhttp answers HTTP/1.1 requests with their bodies, over this library, or, built with
// -modfile=ref.mod, over cloudwego/netpoll v0.7.3. It understands only what the benchmark sends. So it shows how fast an
// HTTP framework could be over this library, without the cost of the framework itself.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/cloudwego/netpoll"

	"github.com/cloudwego/netpoll/bench/internal/frame"
	"github.com/cloudwego/netpoll/bench/internal/serve"
)

func main() {
	serve.Main(func(cfg serve.Config) (string, error) {
		if err := netpoll.Configure(netpoll.Config{PollerNum: cfg.Loops}); err != nil {
			return "", err
		}
		loop, err := netpoll.NewEventLoop(func(_ context.Context, conn netpoll.Connection) error { return answer(conn) })
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

var (
	headEnd = []byte("\r\n\r\n")
	errHead = errors.New("the head of the request does not end in the first 4 KiB")
)

// answer answers one request.
func answer(conn netpoll.Connection) error {
	r, w := conn.Reader(), conn.Writer()
	head, err := readHead(r)
	if err != nil {
		return err
	}
	n, err := frame.ContentLength(head)
	if err != nil {
		return err
	}
	request, err := r.Next(len(head) + len(headEnd) + n)
	if err != nil {
		return err
	}
	body := request[len(request)-n:]
	const space = 160 // for the head of the response
	out, err := w.Malloc(space + n)
	if err != nil {
		return err
	}
	b := append(out[:0], "HTTP/1.1 200 OK\r\nServer: bench\r\nDate: "...)
	b = time.Now().UTC().AppendFormat(b, "Mon, 02 Jan 2006 15:04:05 GMT")
	b = append(b, "\r\nContent-Type: application/octet-stream\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(n), 10)
	b = append(b, headEnd...)
	b = append(b, body...)
	if err := w.MallocAck(len(b)); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return r.Release()
}

// readHead waits for the head and returns it without consuming it. The empty line at its end is left out.
func readHead(r netpoll.Reader) ([]byte, error) {
	for want := 1; want <= 4<<10; want = r.Len() + 1 {
		if _, err := r.Peek(want); err != nil {
			return nil, err
		}
		seen, err := r.Peek(r.Len())
		if err != nil {
			return nil, err
		}
		if end := bytes.Index(seen, headEnd); end >= 0 {
			return seen[:end], nil
		}
	}
	return nil, errHead
}
