// Command pool keeps connections for reuse. It shows that the pool notices, without reading, that a server has closed a
// connection, and does not use it again. The pool is in pool.go.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"

	"github.com/cloudwego/netpoll"
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// run makes requests through a pool, before and after the server drops its connections.
func run(ctx context.Context, w io.Writer) error {
	srv, err := newServer()
	if err != nil {
		return err
	}
	ln, err := netpoll.CreateListener("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- srv.loop.Serve(ln) }()

	p := &pool{addr: ln.Addr().String()}
	err = useAndDrop(ctx, p, srv, w)
	p.close()
	return errors.Join(err, srv.loop.Shutdown(ctx), <-served)
}

func useAndDrop(ctx context.Context, p *pool, srv *server, w io.Writer) error {
	for range 3 {
		if err := request(ctx, p); err != nil {
			return err
		}
	}
	fmt.Fprintf(w, "3 requests: %+v\n", p.stats())

	// The program waits until the end of the connection has arrived, so that its output is always the same. A real
	// program does not have to wait: get finds each connection that has ended by then.
	conn, err := p.get(ctx)
	if err != nil {
		return err
	}
	gone := conn.(interface{ Context() context.Context }).Context()
	p.put(conn)
	srv.dropAll()
	<-gone.Done()
	fmt.Fprintf(w, "the server dropped its connections: %v\n", errors.Is(context.Cause(gone), netpoll.ErrEOF))

	if err := request(ctx, p); err != nil {
		return err
	}
	fmt.Fprintf(w, "1 more request: %+v\n", p.stats())
	return nil
}

// request sends a line over a connection from the pool and reads the answer.
func request(ctx context.Context, p *pool) error {
	conn, err := p.get(ctx)
	if err != nil {
		return err
	}
	if _, err := conn.Write([]byte("ping\n")); err != nil {
		conn.Close() // not put back after an error: the answer may still arrive
		return err
	}
	answer, err := conn.Reader().Until('\n')
	if err != nil || string(answer) != "ping\n" {
		conn.Close()
		return fmt.Errorf("answer %q: %w", answer, err)
	}
	if err := conn.Reader().Release(); err != nil {
		conn.Close()
		return err
	}
	p.put(conn)
	return nil
}
