// Command prometheus is an echo server whose figures a Prometheus server can scrape:
//
//	go run . &
//	curl http://127.0.0.1:9464/metrics
package main

import (
	"context"
	"errors"
	"flag"
	"log"
	"net/http"
	"os"
	"os/signal"

	"github.com/cloudwego/netpoll"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

func main() {
	echoAddr := flag.String("addr", "127.0.0.1:7007", "of the echo server")
	metricsAddr := flag.String("metrics", "127.0.0.1:9464", "of the metrics")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	s, err := start(*echoAddr, *metricsAddr)
	if err != nil {
		log.Fatal(err)
	}
	<-ctx.Done()
	if err := s.stop(); err != nil {
		log.Fatal(err)
	}
}

// servers are the echo server, and one for the metrics.
type servers struct {
	loop    netpoll.EventLoop
	metrics *http.Server
	ended   chan error // of the two

	echoAddr, metricsAddr string
}

func start(echoAddr, metricsAddr string) (*servers, error) {
	loop, err := netpoll.NewEventLoop(echo)
	if err != nil {
		return nil, err
	}
	ln, err := netpoll.CreateListener("tcp", echoAddr)
	if err != nil {
		return nil, err
	}
	metricsLn, err := netpoll.CreateListener("tcp", metricsAddr)
	if err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	s := &servers{
		loop: loop, metrics: &http.Server{Handler: handler()}, ended: make(chan error, 2),
		echoAddr: ln.Addr().String(), metricsAddr: metricsLn.Addr().String(),
	}
	go func() { s.ended <- loop.Serve(ln) }()
	go func() { s.ended <- s.metrics.Serve(metricsLn) }()
	return s, nil
}

// handler answers scrapes.
func handler() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(Collector{})
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
}

func (s *servers) stop() error {
	err := errors.Join(s.loop.Shutdown(context.Background()), s.metrics.Shutdown(context.Background()))
	for range 2 {
		if e := <-s.ended; !errors.Is(e, http.ErrServerClosed) {
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
