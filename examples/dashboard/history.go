package main

// This file holds the history of the figures, and what serves it.

import (
	_ "embed"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/cloudwego/netpoll"
)

const (
	period = 500 * time.Millisecond // between two samples
	kept   = 240                    // samples
)

//go:embed page.html
var page []byte

// sample is what the page draws of one moment.
type sample struct {
	Time  time.Time
	Stats netpoll.Stats
	P50   time.Duration // of the runs of handlers since the sample before
	P99   time.Duration
}

// history keeps the newest samples.
type history struct {
	mu   sync.Mutex
	list []sample // guarded by mu

	quit, done chan struct{}
}

func newHistory() *history {
	h := &history{quit: make(chan struct{}), done: make(chan struct{})}
	h.take(time.Now())
	go h.run()
	return h
}

func (h *history) run() {
	defer close(h.done)
	ticks := time.NewTicker(period)
	defer ticks.Stop()
	for {
		select {
		case at := <-ticks.C:
			h.take(at)
		case <-h.quit:
			return
		}
	}
}

func (h *history) stop() {
	close(h.quit)
	<-h.done
}

// take adds a sample.
func (h *history) take(at time.Time) {
	s := sample{Time: at, Stats: netpoll.ReadStats()}
	h.mu.Lock()
	defer h.mu.Unlock()
	times := s.Stats.Handlers.Times
	if len(h.list) > 0 {
		before := &h.list[len(h.list)-1].Stats.Handlers.Times
		for i := range times.Counts {
			times.Counts[i] -= before.Counts[i]
		}
	}
	s.P50, s.P99 = times.Quantile(0.5), times.Quantile(0.99)
	h.list = append(h.list, s)
	h.list = h.list[max(len(h.list)-kept, 0):]
}

// samples returns a copy of the list.
func (h *history) samples() []sample {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]sample(nil), h.list...)
}

func newHandler(h *history) http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(page)
	})
	m.HandleFunc("GET /history", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(h.samples())
	})
	return m
}
