// Package load generates load: one thread that holds all connections, sends requests, and verifies every response.
//
// In a closed loop each connection keeps a number of requests under way: that measures how much a server can do. In an
// open loop requests are due at a fixed rate, whether or not the server keeps up, and the latency of each counts from
// the moment it was due. So a request that had to wait behind slow ones counts as slow, although it was sent late
// (there is no coordinated omission).
package load

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/cloudwego/netpoll/bench/internal/frame"
)

// Spec describes a load.
type Spec struct {
	Addr   netip.AddrPort
	Conns  int     // connections
	Active int     // how many of them send requests; 0 means all
	Size   int     // payload, in bytes
	Depth  int     // requests under way on each connection; at least 1
	Rate   float64 // requests per second, all together; 0 means a closed loop
	Warmup time.Duration
	Window time.Duration // how long to measure, after the warm-up
	HTTP   bool          // HTTP/1.1 requests that post the payload, instead of frames
	// Reconnect makes each connection serve one request, in a closed loop of depth 1.
	Reconnect bool
	Plain     bool // a system call for each receive and send, no ring

	// The generator's thread calls Begin and End at the beginning and the end of the window. They must be quick.
	// Either may be nil.
	Begin, End func()
}

// Result is what was measured. Requests, Latency and Lag are those of the window.
type Result struct {
	Requests int           // responses that came within the window
	Total    int           // all responses, with those of the warm-up
	Elapsed  time.Duration // length of the window
	Latency  *hdrhistogram.Histogram
	Lag      *hdrhistogram.Histogram // open loop: how long after their due time requests were sent
	// Unanswered counts requests of the window without a response a second after its end. Latency has how long they
	// had waited by then.
	Unanswered int
	ClientCPU  float64 // share of a processor that the generator used
	ClientBusy float64 // share of the time in which it had something to do; polls without events do not count
}

// drainTime is how long after the window an open loop waits for responses.
const drainTime = time.Second

// stallTime is how long a closed loop waits for any response before it fails.
const stallTime = 10 * time.Second

var errStalled = errors.New("no response for " + stallTime.String())

func (s *Spec) validate() error {
	s.Depth = max(s.Depth, 1)
	if s.Active == 0 {
		s.Active = s.Conns
	}
	if s.Active < 0 || s.Active > s.Conns || s.Size < frame.MinPayload || s.Rate < 0 || s.Window <= 0 {
		return fmt.Errorf("load %+v makes no sense", *s)
	}
	if s.Rate > 0 && s.Active == 0 {
		return errors.New("a rate needs connections")
	}
	if s.Reconnect && (s.Rate > 0 || s.Depth > 1) {
		return errors.New("new connections for each request need a closed loop of depth 1")
	}
	return nil
}

// messages returns the messages of the protocol that s chooses.
func (s *Spec) messages() (frame.Messages, error) {
	t, err := frame.NewTemplate(s.Size)
	if err == nil && s.HTTP {
		return frame.NewHTTP(t), nil
	}
	return t, err
}

// newHistogram returns a histogram of latencies in nanoseconds, up to a minute, with three significant digits.
func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, int64(time.Minute), 3)
}

// record adds a latency. One above the range of the histogram counts as its maximum.
func record(h *hdrhistogram.Histogram, ns int64) {
	_ = h.RecordValue(min(max(ns, 1), h.HighestTrackableValue()))
}
