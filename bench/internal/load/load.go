// Package load generates load: one thread that holds all connections, sends requests, and verifies every response.
//
// In a closed loop each connection keeps a number of requests under way: that finds how much a server can do. In an
// open loop requests are due at a fixed rate, whether or not the server keeps up, and the latency of each counts from
// the moment it was due. A request that had to wait because others were slow is slow itself: nothing is left out
// because the generator was held up.
package load

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/cloudwego/netpoll/bench/internal/frame"
)

// Spec is what to do.
type Spec struct {
	Addr   netip.AddrPort
	Conns  int     // connections
	Active int     // how many of them send requests; 0 means all
	Size   int     // payload, in bytes
	Depth  int     // requests under way on each connection; at least 1
	Rate   float64 // requests per second, all together; 0 means a closed loop
	Warmup time.Duration
	Window time.Duration // how long is measured, after the warm-up
	HTTP   bool          // HTTP/1.1 requests that post the payload, instead of frames
	// Reconnect makes each connection serve one request, in a closed loop of depth 1.
	Reconnect bool
	Plain     bool // a system call for each receive and send, no ring

	// Begin and End are called at the two ends of the window, by the generator's thread: they must be quick. Either
	// may be nil.
	Begin, End func()
}

// Result is what was measured. Requests, Latency and Lag are those of the window.
type Result struct {
	Requests int           // responses that came within the window
	Total    int           // all responses, those of the warm-up included
	Elapsed  time.Duration // its length
	Latency  *hdrhistogram.Histogram
	Lag      *hdrhistogram.Histogram // open loop: how much later than due requests were sent
	// Unanswered counts requests of the window that had no response a second after it. Their latency until then is in
	// Latency.
	Unanswered int
	ClientCPU  float64 // share of a processor that the generator used
	ClientBusy float64 // share of the time in which it had something to do; looks that found nothing are not counted
}

// drainTime is for how long after its window an open loop waits for responses.
const drainTime = time.Second

// stallTime is how long a closed loop goes without any response before it gives up.
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

// messages are those of the protocol.
func (s *Spec) messages() (frame.Messages, error) {
	t, err := frame.NewTemplate(s.Size)
	if err == nil && s.HTTP {
		return frame.NewHTTP(t), nil
	}
	return t, err
}

// newHistogram is for latencies in nanoseconds, up to a minute, to three digits.
func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, int64(time.Minute), 3)
}

// record adds a latency, which may be longer than the histogram goes.
func record(h *hdrhistogram.Histogram, ns int64) {
	_ = h.RecordValue(min(max(ns, 1), h.HighestTrackableValue()))
}
