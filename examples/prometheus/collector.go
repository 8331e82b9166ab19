package main

// This file holds a collector for the Prometheus client library. It reads the figures of the process when it is asked for
// them, and keeps nothing.

import (
	"strconv"
	"strings"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/prometheus/client_golang/prometheus"
)

// Collector is a [prometheus.Collector] of what netpoll.ReadStats returns.
type Collector struct{}

var _ prometheus.Collector = Collector{}

// family makes the description of a metric.
func family(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("netpoll_"+name, help, labels, nil)
}

var (
	open       = family("connections_open", "Connections of the process now.")
	accepted   = family("connections_accepted_total", "Connections that were accepted.", "listener")
	refused    = family("connections_refused_total", "Accepted connections that OnPrepare has closed.", "listener")
	served     = family("connections_served", "Connections of an event loop now.", "listener")
	paused     = family("listeners_paused", "Listeners that accept nothing now.", "listener")
	pauses     = family("accept_pauses_total", "How often accepting has stopped.", "reason")
	ended      = family("connections_ended_total", "Connections that have ended.", "reason")
	bytes      = family("bytes_total", "Bytes that have moved.", "direction")
	calls      = family("system_calls_total", "System calls, by what they do.", "call")
	operations = family("batch_operations_total", "Receives and sends in batches.", "executor")
	blocked    = family("output_blocked", "Connections whose output waits for the peer now.")
	held       = family("input_paused", "Connections whose unread input is at its limit now.")
	watched    = family("poller_descriptors", "Descriptors that a poller watches now.", "poller")
	workers    = family("poller_workers", "Goroutines of a poller that are awake now.", "poller")
	running    = family("handlers_running", "Handlers that run now.")
	queued     = family("handlers_queued", "Handlers that wait for the runner now.")
	inRunner   = family("handlers_in_runner_total", "Runs of handlers that went to the runner.")
	handedOver = family("poller_hand_overs_total", "How often a handler held a poller, so that another goroutine went on with it.")
	slow       = family("handlers_slow_total", "How often handlers were found slow and moved to the runner.")
	runs       = family("handler_duration_seconds", "How long runs of handlers took on goroutines of pollers.")
	batches    = family("batch_duration_seconds", "How long batches of handlers took.")
	handshakes = family("tls_handshakes_total", "Handshakes of TLS.", "result")
	packets    = family("datagrams_total", "Datagrams that have moved.", "direction")
	blockBytes = family("block_allocated_bytes_total", "Memory for buffers that was taken from the heap.")
)

// Describe implements prometheus.Collector.
func (Collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{open, accepted, refused, served, paused, pauses, ended, bytes, calls, operations, blocked,
		held, watched, workers, running, queued, inRunner, handedOver, slow, runs, batches, handshakes, packets, blockBytes} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (Collector) Collect(to chan<- prometheus.Metric) {
	s := netpoll.ReadStats()
	gauge := func(d *prometheus.Desc, v int, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}

	gauge(open, s.Conns.Open)
	for reason, n := range map[string]uint64{
		"closed": s.Conns.Ended.Closed, "peer": s.Conns.Ended.Peer, "reset": s.Conns.Ended.Reset, "idle": s.Conns.Ended.Idle,
		"shutdown": s.Conns.Ended.Shutdown, "panic": s.Conns.Ended.Panic, "poller": s.Conns.Ended.Poller,
		"detached": s.Conns.Ended.Detached,
	} {
		counter(ended, n, reason)
	}
	counter(pauses, s.Conns.PausedAtLimit, "limit")
	counter(pauses, s.Conns.PausedForLack, "descriptors")
	for _, loop := range s.EventLoops {
		name := strings.Join(loop.Addrs, ",")
		gauge(served, loop.Conns.Open, name)
		gauge(paused, loop.Paused, name)
		counter(accepted, loop.Conns.Accepted, name)
		counter(refused, loop.Conns.Refused, name)
	}

	t := &s.Traffic
	counter(bytes, t.BytesIn, "in")
	counter(bytes, t.BytesOut, "out")
	counter(calls, t.Polls, "poll")
	counter(calls, t.Receives, "receive")
	counter(calls, t.Sends, "send")
	counter(calls, t.IOUring.Calls, "io_uring")
	counter(calls, t.AIO.Calls, "aio")
	counter(operations, t.IOUring.Operations, "io_uring")
	counter(operations, t.AIO.Operations, "aio")
	gauge(blocked, t.OutputBlocked)
	gauge(held, t.InputPaused)
	for i := range s.Pollers {
		gauge(watched, s.Pollers[i].Watched, strconv.Itoa(i))
		gauge(workers, s.Pollers[i].Workers, strconv.Itoa(i))
	}

	h := &s.Handlers
	gauge(running, h.Running)
	gauge(queued, h.Queued)
	counter(inRunner, h.InRunner)
	counter(handedOver, h.HandedOver)
	counter(slow, h.Slow)
	to <- histogram(runs, &h.Times)
	to <- histogram(batches, &h.Batches)

	counter(handshakes, s.Handshakes, "done")
	counter(handshakes, s.FailedHandshakes, "failed")
	counter(packets, s.Packets.Received, "in")
	counter(packets, s.Packets.Sent, "out")
	counter(blockBytes, s.BlockBytes)
}

// histogram turns h into one of Prometheus, whose buckets count all times up to their limit.
func histogram(d *prometheus.Desc, h *netpoll.Histogram) prometheus.Metric {
	buckets := make(map[float64]uint64)
	sum := uint64(0)
	for i, n := range h.Counts[:netpoll.HistogramBuckets-1] { // the last one is that of all
		sum += n
		buckets[float64(h.Limit(i))/float64(time.Second)] = sum
	}
	return prometheus.MustNewConstHistogram(d, h.Count(), h.Sum.Seconds(), buckets)
}
