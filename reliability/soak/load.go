package main

// This file holds the process that loads the server. It also uses the library: dialers, connections and the mux. So the
// soak samples it like the server.

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
	Addr    string
	TLSAddr string
	ShmAddr string
	Seed    uint64
	Idle    int // number of idle connections
}

// loadQuestion is a question to the load.
type loadQuestion struct {
	Start, Stop bool // the workers
	Collect     bool
}

// loadAnswer is its answer.
type loadAnswer struct {
	Inside gauge.Inside
	Counts map[string]int64 // how often each kind of work was done
	Wrong  int64            // number of errors
	Errors []string         // the first of them
}

// keptErrors is how many errors are kept.
const keptErrors = 20

// load is the state of the process.
type load struct {
	loadConfig
	ctx     context.Context // cancelled when the workers have to stop
	stop    context.CancelFunc
	working sync.WaitGroup

	mu     sync.Mutex // guards the fields below
	counts map[string]int64
	wrong  int64
	errors []string
}

// playLoad is the role of the load.
func playLoad(link *child.Link) error {
	l := &load{counts: map[string]int64{}}
	if err := link.Receive(&l.loadConfig); err != nil {
		return err
	}
	l.ctx, l.stop = context.WithCancel(context.Background())
	defer l.stop()
	netpoll.Initialize() // before anything is measured, so that its memory is not counted as growth
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

// work does the job of w again and again.
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

// rest waits for d, or until the workers have to stop.
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
