package runner

// This file holds the default pool. Its goroutines come from gopool, which starts one for each task and lets it go
// afterwards; here they wait a moment for the next task, so that under a steady load no goroutine is started and
// nothing is allocated.

import (
	"context"
	"sync"
	"time"

	"github.com/bytedance/gopkg/util/gopool"
)

const (
	// maxIdle limits how many workers wait for work.
	maxIdle = 1024
	// trimInterval is how often workers that were not needed in the meantime are let go.
	trimInterval = 200 * time.Millisecond
)

// defaultPool is what Run uses unless another runner was set.
var defaultPool pool

// pool holds workers that wait. It has no goroutine and no timer while there are none.
type pool struct {
	// mu guards the fields below.
	mu      sync.Mutex
	idle    []*worker // the last worker to come is the first to go: its stack and caches are warm
	unused  int       // how many of them, from the bottom, have not been needed since the last trim
	trimmer *time.Timer
	armed   bool
}

// worker is one goroutine of the pool.
type worker struct {
	pool  *pool
	first func()
	tasks chan func() // holds one; nil means the end
}

// run gives f to a waiting worker or to a new one.
func (p *pool) run(f func()) {
	p.mu.Lock()
	last := len(p.idle) - 1
	if last < 0 {
		p.mu.Unlock()
		w := &worker{pool: p, first: f, tasks: make(chan func(), 1)}
		gopool.CtxGo(context.Background(), w.work)
		return
	}
	w := p.idle[last]
	p.idle[last] = nil
	p.idle = p.idle[:last]
	p.unused = min(p.unused, last)
	p.mu.Unlock()
	w.tasks <- f
}

// work runs tasks until the worker is let go. A task that panics ends it; gopool reports that.
func (w *worker) work() {
	f := w.first
	for w.first = nil; f != nil; f = <-w.tasks {
		f()
		if !w.pool.park(w) {
			return
		}
	}
}

// park puts w among the waiting workers, unless there are enough.
func (p *pool) park(w *worker) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) >= maxIdle {
		return false
	}
	p.idle = append(p.idle, w)
	p.arm()
	return true
}

// arm makes the next trim happen. The caller holds mu.
func (p *pool) arm() {
	if p.armed {
		return
	}
	p.armed = true
	if p.trimmer == nil {
		p.trimmer = time.AfterFunc(trimInterval, p.trim)
	} else {
		p.trimmer.Reset(trimInterval)
	}
}

// trim lets workers go that were not needed since the last trim.
func (p *pool) trim() {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.idle)
	for _, w := range p.idle[:p.unused] {
		w.tasks <- nil // has room: the worker waits
	}
	copy(p.idle, p.idle[p.unused:])
	clear(p.idle[n-p.unused:])
	p.idle = p.idle[:n-p.unused]
	p.unused = len(p.idle)
	p.armed = false
	if len(p.idle) > 0 {
		p.arm()
	}
}
