// Command local is the server of clients on the same machine: over this library with shared memory and with a Unix socket,
// and over package net with a Unix socket. Package local has its protocol.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/cloudwego/netpoll"

	"github.com/cloudwego/netpoll/bench/internal/local"
	"github.com/cloudwego/netpoll/bench/internal/overnet"
	"github.com/cloudwego/netpoll/bench/internal/serve"
	"github.com/cloudwego/netpoll/bench/internal/stat"
)

func main() {
	serve.Main(func(cfg serve.Config) (string, error) {
		addr := fmt.Sprintf("@netpoll-bench-%d", os.Getpid()) // without a file
		if cfg.Mode == "net" {
			return addr, overNet(addr)
		}
		return addr, overNetpoll(cfg, addr)
	})
}

func overNetpoll(cfg serve.Config, addr string) error {
	if err := netpoll.Configure(netpoll.Config{PollerNum: cfg.Loops}); err != nil {
		return err
	}
	loop, err := netpoll.NewEventLoop(answer)
	if err != nil {
		return err
	}
	ln, err := local.Listen(cfg.Mode, addr)
	if err != nil {
		return err
	}
	go func() { panic(fmt.Sprint("serve: ", loop.Serve(ln))) }()
	return nil
}

// most is how much of small messages is looked at together, in bytes.
const most = 32 << 10

// answer answers the messages that have arrived, and sends all answers with one Flush. It waits until the first is complete.
func answer(_ context.Context, conn netpoll.Connection) error {
	r, w := conn.Reader(), conn.Writer()
	header, err := r.Peek(local.HeaderLen)
	if err != nil {
		return err
	}
	size, _, err := local.Header(header)
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	p, err := r.Next(size)
	if err != nil {
		return err
	}
	for {
		if err := answerAll(p, w); err != nil {
			return errors.Join(err, conn.Close())
		}
		if p, err = r.Peek(min(r.Len(), most)); err != nil {
			return err
		}
		if p = p[:whole(p)]; len(p) == 0 {
			break
		}
		if err := r.Skip(len(p)); err != nil {
			return err
		}
	}
	if w.MallocLen() > 0 {
		if err := w.Flush(); err != nil {
			return err
		}
	}
	return r.Release()
}

// answerAll answers whole messages.
func answerAll(p []byte, w netpoll.Writer) error {
	counted := 0
	for len(p) > 0 {
		size, kind, err := local.Header(p)
		if err != nil {
			return err
		}
		message := p[:size]
		p = p[size:]
		if _, err := local.Check(message); err != nil {
			return err
		}
		if kind == local.Count {
			counted++
		} else if _, err := w.WriteBinary(message); err != nil {
			return err
		}
	}
	stat.Counted.Add(int64(counted))
	return nil
}

// whole returns how many bytes at the beginning of p are whole messages. What is wrong counts as one, for answerAll.
func whole(p []byte) (n int) {
	for len(p)-n >= local.HeaderLen {
		size, _, err := local.Header(p[n:])
		if err != nil {
			return n + local.HeaderLen
		}
		if n+size > len(p) {
			break
		}
		n += size
	}
	return n
}

func overNet(addr string) error {
	ln, err := net.Listen("unix", addr)
	if err != nil {
		return err
	}
	go overnet.Accept(ln, answerNet)
	return nil
}

// answerNet answers messages until the connection ends, and returns the error that ended it.
func answerNet(conn net.Conn) error {
	var big []byte // grown as needed and used again
	in, out := bufio.NewReaderSize(conn, 64<<10), bufio.NewWriterSize(conn, 4<<10)
	for {
		header, err := in.Peek(local.HeaderLen)
		if err != nil {
			return err
		}
		size, kind, err := local.Header(header)
		if err != nil {
			return err
		}
		var p []byte
		if size <= in.Size() {
			p, err = in.Peek(size)
		} else {
			if cap(big) < size {
				big = make([]byte, size)
			}
			p = big[:size]
			_, err = io.ReadFull(in, p) // bytes that are not buffered are read straight from the connection
		}
		if err != nil {
			return err
		}
		if _, err := local.Check(p); err != nil {
			return err
		}
		if kind == local.Count {
			stat.Counted.Add(1)
		} else if _, err := out.Write(p); err != nil {
			return err
		}
		if size <= in.Size() {
			_, _ = in.Discard(size)
		}
		if in.Buffered() > 0 {
			continue
		}
		if err := out.Flush(); err != nil {
			return err
		}
	}
}
