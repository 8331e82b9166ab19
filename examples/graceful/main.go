// Command graceful is a server that ends well: on SIGTERM, or an interrupt, it takes no more connections, answers the
// requests that have arrived, and exits. Try
//
//	go run ./examples/graceful -addr 127.0.0.1:8080
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/framing"
)

// patience is how long requests that have begun may take.
const patience = 30 * time.Second

var lines = framing.Line{CRLF: true, Limit: 1 << 10}

func main() {
	addr := flag.String("addr", "127.0.0.1:0", "where to listen")
	flag.Parse()
	ln, err := netpoll.CreateListener("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	if err := serve(ln, answer, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// serve serves until a signal comes, and returns when nothing is left to do.
func serve(ln netpoll.Listener, on netpoll.OnRequest, w io.Writer) error {
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer cancel()
	loop, err := netpoll.NewEventLoop(on)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "listening on %v\n", ln.Addr())
	down := make(chan error, 1)
	go func() {
		<-stop.Done()
		fmt.Fprintln(w, "stopping")
		cancel() // a second signal ends the process at once
		ctx, done := context.WithTimeout(context.Background(), patience)
		defer done()
		down <- loop.Shutdown(ctx)
	}()
	if err := loop.Serve(ln); err != nil {
		return err // not for Shutdown: then it is nil, and the goroutine above is at work
	}
	err = <-down
	var late *netpoll.ShutdownError
	if errors.As(err, &late) {
		for _, conn := range late.Busy {
			conn.Close()
		}
	}
	fmt.Fprintln(w, "stopped")
	return err
}

// answer echoes lines.
func answer(_ context.Context, conn netpoll.Connection) error {
	r, w := conn.Reader(), conn.Writer()
	defer r.Release()
	for {
		line, ok, err := framing.TryNext(r, lines)
		if err != nil {
			return errors.Join(err, conn.Close())
		}
		if !ok {
			return w.Flush()
		}
		if err := lines.Write(w, line); err != nil {
			return err
		}
	}
}
