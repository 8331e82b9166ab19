package main

// This file holds the process that loads the server. It uses the library, too: its dialers, its connections and its mux
// are watched as the server is.

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/cloudwego/netpoll"

	"github.com/cloudwego/netpoll/reliability/internal/child"
	"github.com/cloudwego/netpoll/reliability/internal/gauge"
)

const loadRole = "load"

// loadConfig has the settings of the load.
type loadConfig struct {
	Addr string
	Seed uint64
	Idle int // connections that only are there
}

// loadQuestion is what it can be asked.
type loadQuestion struct {
	Start, Stop bool // the workers
	Collect     bool
}

// loadAnswer is what it answers.
type loadAnswer struct {
	Inside gauge.Inside
	Counts map[string]int64 // what was done, and how often
	Wrong  int64            // what did not go as it should
	Errors []string         // the first of it
}

// keptErrors is how many descriptions are kept of what went wrong.
const keptErrors = 20

// load is the state of the process.
type load struct {
	loadConfig
	ctx     context.Context // ends with the work
	stop    context.CancelFunc
	working sync.WaitGroup

	mu     sync.Mutex // guards the fields below
	counts map[string]int64
	wrong  int64
	errors []string
}

// playLoad is the role.
func playLoad(link *child.Link) error {
	l := &load{counts: map[string]int64{}}
	if err := link.Receive(&l.loadConfig); err != nil {
		return err
	}
	l.ctx, l.stop = context.WithCancel(context.Background())
	defer l.stop()
	netpoll.Initialize() // so that what it holds is there before anything is measured
	source := gauge.NewSource()
	for {
		var q loadQuestion
		if err := link.Receive(&q); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		switch {
		case q.Start:
			l.start()
		case q.Stop:
			l.stop()
			l.working.Wait()
		}
		if err := link.Send(l.answer(source, q.Collect)); err != nil {
			return err
		}
	}
}

func (l *load) answer(source *gauge.Source, collect bool) loadAnswer {
	var inside gauge.Inside
	if collect {
		inside = source.Collect()
	} else {
		inside = source.Read()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return loadAnswer{Inside: inside, Counts: maps.Clone(l.counts), Wrong: l.wrong, Errors: l.errors}
}

// start starts the workers.
func (l *load) start() {
	for i, w := range workers {
		for j := range w.number {
			random := rand.New(rand.NewPCG(l.Seed, uint64(i<<16|j)))
			l.working.Go(func() { l.work(w, random) })
		}
	}
	l.working.Go(func() { l.keepIdle(rand.New(rand.NewPCG(l.Seed, 1<<32))) })
}

// work does one job again and again.
func (l *load) work(w worker, random *rand.Rand) {
	for l.ctx.Err() == nil {
		err := w.job(l, random)
		if err != nil {
			l.fail(w.name, err)
		}
		l.count(w.name, 1)
		l.rest(time.Duration(random.Int64N(int64(2*w.rest) + 1)))
	}
}

// rest waits, not beyond the end of the work.
func (l *load) rest(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-l.ctx.Done():
	case <-timer.C:
	}
}

func (l *load) count(what string, n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts[what] += n
}

func (l *load) fail(name string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wrong++
	if len(l.errors) < keptErrors {
		l.errors = append(l.errors, fmt.Sprintf("%s: %v", name, err))
	}
}
