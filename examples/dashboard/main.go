// Command dashboard serves echoes under load, and a page that draws the figures of the process live:
//
//	go run ./examples/dashboard
//
// and then open http://127.0.0.1:7070. The page, too, is served over netpoll.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"

	"github.com/cloudwego/netpoll"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:7070", "of the page")
	conns := flag.Int("conns", 200, "connections of the load")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	d, err := start(*addr, *conns)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("http://%s\n", d.addr)
	<-ctx.Done()
	if err := d.stop(); err != nil {
		log.Fatal(err)
	}
}

// dashboard is all that runs: an echo server, its load, the history of the figures, and the page.
type dashboard struct {
	addr    string // of the page
	history *history
	loop    netpoll.EventLoop
	load    *load
	page    *http.Server
	ended   chan error // of the two servers
}

func start(addr string, conns int) (*dashboard, error) {
	pageLn, err := netpoll.CreateListener("tcp", addr)
	if err != nil {
		return nil, err
	}
	echoLn, err := netpoll.CreateListener("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(err, pageLn.Close())
	}
	loop, err := netpoll.NewEventLoop(echo)
	if err != nil {
		return nil, errors.Join(err, pageLn.Close(), echoLn.Close())
	}
	d := &dashboard{addr: pageLn.Addr().String(), history: newHistory(), loop: loop, ended: make(chan error, 2)}
	d.page = &http.Server{Handler: newHandler(d.history)}
	go func() { d.ended <- loop.Serve(echoLn) }()
	go func() { d.ended <- d.page.Serve(pageLn) }()
	d.load = startLoad(echoLn.Addr().String(), conns)
	return d, nil
}

func (d *dashboard) stop() error {
	err := d.load.stop()
	d.history.stop()
	err = errors.Join(err, d.loop.Shutdown(context.Background()), d.page.Shutdown(context.Background()))
	for range 2 {
		if e := <-d.ended; !errors.Is(e, http.ErrServerClosed) {
			err = errors.Join(err, e)
		}
	}
	return err
}

func echo(_ context.Context, conn netpoll.Connection) error {
	reader, writer := conn.Reader(), conn.Writer()
	defer reader.Release()
	input, err := reader.Next(reader.Len())
	if err != nil {
		return err
	}
	if _, err := writer.WriteBinary(input); err != nil {
		return err
	}
	return writer.Flush()
}
