package main

import (
	"bytes"
	"testing"

	"github.com/cloudwego/netpoll"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/metric/metricdata/metricdatatest"
)

// TestReaderSeesWhatHappened runs the program, which sends ten times five bytes.
func TestReaderSeesWhatHappened(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out))
	require.Contains(t, out.String(), "netpoll.io network.io.direction=receive 50\n")
	require.Contains(t, out.String(), "netpoll.io network.io.direction=transmit 50\n")
	require.Contains(t, out.String(), "netpoll.connections.accepted  1\n")
}

// TestProducerHandsHistogramsOver compares a histogram of the SDK with that of the library.
func TestProducerHandsHistogramsOver(t *testing.T) {
	reader := metric.NewManualReader(metric.WithProducer(NewProducer()))
	metric.NewMeterProvider(metric.WithReader(reader))
	var all metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(t.Context(), &all))
	h := netpoll.ReadStats().Handlers.Times
	for _, m := range all.ScopeMetrics[0].Metrics {
		if m.Name != "netpoll.handler.duration" {
			continue
		}
		bounds := make([]float64, netpoll.HistogramBuckets-1)
		for i := range bounds {
			bounds[i] = h.Limit(i).Seconds()
		}
		metricdatatest.AssertAggregationsEqual(t, metricdata.Histogram[float64]{
			Temporality: metricdata.CumulativeTemporality,
			DataPoints: []metricdata.HistogramDataPoint[float64]{{
				Count: h.Count(), Sum: h.Sum.Seconds(), Bounds: bounds, BucketCounts: h.Counts[:],
			}},
		}, m.Data, metricdatatest.IgnoreTimestamp())
		return
	}
	t.Fatal("there is no such histogram")
}
