package caller

// This file holds the latencies of all callers.

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// recorder collects latencies. The zero value is ready; its methods may be called from any goroutine.
type recorder struct {
	shards [4]struct {
		mu sync.Mutex              // guards h
		h  *hdrhistogram.Histogram // in nanoseconds
		_  [40]byte
	}
}

func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, int64(time.Minute), 3) }

func (r *recorder) add(caller int, d time.Duration) {
	s := &r.shards[caller%len(r.shards)]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.h == nil {
		s.h = newHistogram()
	}
	_ = s.h.RecordValue(min(int64(d), s.h.HighestTrackableValue()))
}

// reset forgets what was added.
func (r *recorder) reset() {
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		if s.h != nil {
			s.h.Reset()
		}
		s.mu.Unlock()
	}
}

// result puts what was added into res.
func (r *recorder) result(res *Result) {
	all := newHistogram()
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		if s.h != nil {
			all.Merge(s.h)
		}
		s.mu.Unlock()
	}
	q := func(p float64) time.Duration { return time.Duration(all.ValueAtQuantile(p)) }
	res.Requests = int(all.TotalCount())
	res.P50, res.P90, res.P99, res.P999, res.Max = q(50), q(90), q(99), q(99.9), time.Duration(all.Max())
}
