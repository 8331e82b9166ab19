package main

// This file holds a producer for the OpenTelemetry SDK: it hands over the figures of the process, which are sums and
// histograms already, whenever a reader asks for them.

import (
	"context"
	"time"

	"github.com/cloudwego/netpoll"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// Producer is a [metric.Producer] of what netpoll.ReadStats returns. It belongs to a reader:
//
//	metric.NewPeriodicReader(exporter, metric.WithProducer(NewProducer()))
type Producer struct{ start time.Time }

var _ metric.Producer = (*Producer)(nil)

// NewProducer makes a producer. Its sums are those since the start of the process, which is about now.
func NewProducer() *Producer { return &Producer{start: time.Now()} }

// Produce implements metric.Producer.
func (p *Producer) Produce(context.Context) ([]metricdata.ScopeMetrics, error) {
	b := builder{start: p.start, now: time.Now()}
	b.build(netpoll.ReadStats())
	return []metricdata.ScopeMetrics{{Scope: instrumentation.Scope{Name: "github.com/cloudwego/netpoll"}, Metrics: b.list}}, nil
}

// builder gathers the metrics of one moment.
type builder struct {
	start, now time.Time
	list       []metricdata.Metrics
}

// point is a figure with its attribute; an empty key is none.
type point struct {
	key, value string
	n          int64
}

func (b *builder) build(s netpoll.Stats) {
	e := s.Conns.Ended
	b.level("netpoll.connections.open", "{connection}", point{n: int64(s.Conns.Open)})
	b.sum("netpoll.connections.accepted", "{connection}", point{n: int64(s.Conns.Accepted)})
	b.sum("netpoll.connections.refused", "{connection}", point{n: int64(s.Conns.Refused)})
	b.sum("netpoll.connections.ended", "{connection}",
		point{"reason", "closed", int64(e.Closed)}, point{"reason", "peer", int64(e.Peer)},
		point{"reason", "reset", int64(e.Reset)}, point{"reason", "idle", int64(e.Idle)},
		point{"reason", "shutdown", int64(e.Shutdown)}, point{"reason", "panic", int64(e.Panic)},
		point{"reason", "poller", int64(e.Poller)}, point{"reason", "detached", int64(e.Detached)})
	b.sum("netpoll.accept.pauses", "{pause}",
		point{"reason", "limit", int64(s.Conns.PausedAtLimit)}, point{"reason", "descriptors", int64(s.Conns.PausedForLack)})

	t := s.Traffic
	b.sum("netpoll.io", "By",
		point{"network.io.direction", "receive", int64(t.BytesIn)}, point{"network.io.direction", "transmit", int64(t.BytesOut)})
	b.sum("netpoll.system_calls", "{call}",
		point{"call", "poll", int64(t.Polls)}, point{"call", "receive", int64(t.Receives)}, point{"call", "send", int64(t.Sends)},
		point{"call", "io_uring", int64(t.IOUring.Calls)}, point{"call", "aio", int64(t.AIO.Calls)})
	b.level("netpoll.output.blocked", "{connection}", point{n: int64(t.OutputBlocked)})
	b.level("netpoll.input.paused", "{connection}", point{n: int64(t.InputPaused)})

	h := s.Handlers
	b.level("netpoll.handlers.running", "{handler}", point{n: int64(h.Running)})
	b.level("netpoll.handlers.queued", "{handler}", point{n: int64(h.Queued)})
	b.sum("netpoll.handlers.in_runner", "{handler}", point{n: int64(h.InRunner)})
	b.sum("netpoll.handlers.slow", "{event}", point{n: int64(h.Slow)})
	b.sum("netpoll.pollers.handed_over", "{event}", point{n: int64(h.HandedOver)})
	b.histogram("netpoll.handler.duration", &h.Times)
	b.histogram("netpoll.batch.duration", &h.Batches)
	b.sum("netpoll.tls.handshakes", "{handshake}",
		point{"result", "done", int64(s.Handshakes)}, point{"result", "failed", int64(s.FailedHandshakes)})
	b.sum("netpoll.blocks.allocated", "By", point{n: int64(s.BlockBytes)})
}

// sum adds a counter.
func (b *builder) sum(name, unit string, points ...point) {
	b.add(name, unit, metricdata.Sum[int64]{
		DataPoints: b.points(points), Temporality: metricdata.CumulativeTemporality, IsMonotonic: true,
	})
}

// level adds a gauge.
func (b *builder) level(name, unit string, points ...point) {
	b.add(name, unit, metricdata.Gauge[int64]{DataPoints: b.points(points)})
}

func (b *builder) points(points []point) (list []metricdata.DataPoint[int64]) {
	for _, p := range points {
		data := metricdata.DataPoint[int64]{StartTime: b.start, Time: b.now, Value: p.n}
		if p.key != "" {
			data.Attributes = attribute.NewSet(attribute.String(p.key, p.value))
		}
		list = append(list, data)
	}
	return list
}

// histogram adds h, in seconds. The last bucket has no limit there, too.
func (b *builder) histogram(name string, h *netpoll.Histogram) {
	limits := make([]float64, netpoll.HistogramBuckets-1)
	for i := range limits {
		limits[i] = h.Limit(i).Seconds()
	}
	b.add(name, "s", metricdata.Histogram[float64]{
		Temporality: metricdata.CumulativeTemporality,
		DataPoints: []metricdata.HistogramDataPoint[float64]{{
			StartTime: b.start, Time: b.now, Count: h.Count(), Sum: h.Sum.Seconds(), Bounds: limits, BucketCounts: h.Counts[:],
		}},
	})
}

func (b *builder) add(name, unit string, data metricdata.Aggregation) {
	b.list = append(b.list, metricdata.Metrics{Name: name, Unit: unit, Data: data})
}
