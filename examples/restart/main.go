//go:build unix

// Command restart is a server that a new process takes over from, without a request lost. Try
//
//	go run ./examples/restart -addr 127.0.0.1:8080
//
// and send the process SIGHUP: it starts its own program anew, hands over the listener, answers what it has accepted, and
// ends. SIGTERM ends it without a successor. How the listener is handed over is in handover.go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/framing"
)

// patience is how long a process waits for the requests of the connections that it has accepted.
const patience = 10 * time.Second

func main() {
	addr := flag.String("addr", "127.0.0.1:0", "where to listen")
	flag.Parse()
	ln, err := takeOver(*addr)
	if err == nil {
		err = serve(ln)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// serve serves until the listener has a new owner, or nobody needs it any more.
func serve(ln socket) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGTERM, os.Interrupt)
	defer signal.Stop(signals)
	fmt.Printf("%d: listening on %v\n", os.Getpid(), ln.Addr())

	var open sync.WaitGroup // connections
	loop, err := netpoll.NewEventLoop(answer, netpoll.WithOnPrepare(func(conn netpoll.Connection) context.Context {
		open.Add(1)
		_ = conn.AddCloseCallback(func(netpoll.Connection) error { open.Done(); return nil }) // the error is always nil
		return context.Background()
	}))
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- loop.Serve(ln) }()
	for s := range signals {
		if s != syscall.SIGHUP {
			break
		}
		if err := handOver(ln); err == nil {
			break
		}
		log.Printf("restart: %v; going on", err)
	}

	// The process accepts no more. Shutdown would close connections whose request is on its way, so it comes only when
	// they had time for that.
	err = ln.Close()
	if end := <-served; !errors.Is(end, net.ErrClosed) {
		err = errors.Join(err, end)
	}
	ended := make(chan struct{})
	go func() { open.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(patience):
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return errors.Join(err, loop.Shutdown(ctx))
}

// answer tells the client who answers its line. The client closes.
func answer(_ context.Context, conn netpoll.Connection) error {
	r, w := conn.Reader(), conn.Writer()
	defer r.Release()
	for {
		line, ok, err := framing.TryNext(r, framing.Line{Limit: 1 << 10})
		if err != nil {
			return errors.Join(err, conn.Close())
		}
		if !ok {
			return w.Flush()
		}
		if err := (framing.Line{}).Write(w, fmt.Appendf(nil, "%s, says %d", line, os.Getpid())); err != nil {
			return err
		}
	}
}
