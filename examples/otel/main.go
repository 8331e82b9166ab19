// Command otel serves echoes to a client of its own, and prints the figures of the process as the OpenTelemetry SDK sees
// them. A program that sends them to a collector gives the producer to a periodic reader with an exporter instead.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"

	"github.com/cloudwego/netpoll"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// run makes some traffic and prints the sums.
func run(ctx context.Context, w io.Writer) error {
	reader := metric.NewManualReader(metric.WithProducer(NewProducer()))
	provider := metric.NewMeterProvider(metric.WithReader(reader)) // for the program's own metrics
	loop, err := netpoll.NewEventLoop(echo)
	if err != nil {
		return err
	}
	ln, err := netpoll.CreateListener("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- loop.Serve(ln) }()

	err = talk(ln.Addr().String())
	var all metricdata.ResourceMetrics
	err = errors.Join(err, reader.Collect(ctx, &all))
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			if sum, ok := m.Data.(metricdata.Sum[int64]); ok {
				for _, p := range sum.DataPoints {
					fmt.Fprintln(w, m.Name, p.Attributes.Encoded(attribute.DefaultEncoder()), p.Value)
				}
			}
		}
	}
	return errors.Join(err, loop.Shutdown(ctx), <-served, provider.Shutdown(ctx))
}

func talk(addr string) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	for range 10 {
		if _, err := io.WriteString(conn, "hello"); err != nil {
			return err
		}
		if _, err := io.ReadFull(conn, make([]byte, len("hello"))); err != nil {
			return err
		}
	}
	return nil
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
