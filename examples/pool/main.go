// Command pool keeps connections for reuse, in a pool of package pool. It shows that the pool notices, without reading, that
// a server has closed a connection, and does not use it again.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/pool"
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

	p, err := pool.New(pool.Config{
		Dial: func(ctx context.Context) (netpoll.Connection, error) {
			return netpoll.DialContext(ctx, "tcp", ln.Addr().String())
		},
		MaxConns: 10,          // Get waits at that number
		IdleTime: time.Minute, // shorter than that of the server
	})
	if err == nil {
		err = errors.Join(useAndDrop(ctx, p, srv, w), p.Close())
	}
	return errors.Join(err, srv.loop.Shutdown(ctx), <-served)
}

func useAndDrop(ctx context.Context, p *pool.Pool, srv *server, w io.Writer) error {
	for range 3 {
		if err := request(ctx, p); err != nil {
			return err
		}
	}
	printStats(w, "3 requests", p)

	// The program waits until the end of the connection has arrived, so that its output is always the same. A real
	// program does not have to wait: Get finds each connection that has ended by then.
	conn, err := p.Get(ctx)
	if err != nil {
		return err
	}
	gone := conn.(netpoll.Contexter).Context()
	p.Put(conn)
	srv.dropAll()
	<-gone.Done()
	fmt.Fprintf(w, "the server dropped its connections: %v\n", errors.Is(context.Cause(gone), netpoll.ErrEOF))

	if err := request(ctx, p); err != nil {
		return err
	}
	printStats(w, "1 more request", p)
	return nil
}

func printStats(w io.Writer, what string, p *pool.Pool) {
	s := p.Stats()
	fmt.Fprintf(w, "%s: %d dialed, %d reused, %d unfit\n", what, s.Dialed, s.Reused, s.Unfit)
}

// request sends a line over a connection from the pool and reads the answer.
func request(ctx context.Context, p *pool.Pool) error {
	conn, err := p.Get(ctx)
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
	p.Put(conn)
	return nil
}
