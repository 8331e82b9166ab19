// Command pool keeps connections for reuse, and shows that one whose server went away is noticed without reading from
// it and before it is used. The pool is in pool.go.
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

	// The program waits here for the news to arrive, so that what it prints is always the same. A real one does not:
	// whenever the news arrives, get knows.
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
		conn.Close() // never back into the pool after an error: what is on the wire is unknown
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
