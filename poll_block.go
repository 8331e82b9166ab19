//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// This file holds what a goroutine does for the pollers before it waits for a connection: it may be a worker that runs a
// handler, and then the tasks behind that handler, and the polling, are for another goroutine.
//
// Go does not say which goroutine is which, but Linux says which thread the caller is on. So workers note their threads, and
// a worker on another thread keeps its tasks: in a process with clients beside its servers most of those who wait are no
// workers. A handler that has waited for something else before may go on on another thread, and is then found by the
// watchdog, as any that does not say that it waits.

import (
	"sync/atomic"

	"github.com/cloudwego/netpoll/internal/thread"
	"github.com/cloudwego/netpoll/internal/wait"
)

func init() { wait.BeforeBlock = beforeBlock }

// waits says that goroutines have waited while workers ran tasks, of late. Only then workers note their threads, which takes
// a system call for each batch. Stored by those who wait, and by the watchdog.
var waits atomic.Bool

// workerThread is the thread on which a worker began to run its tasks; 0 if that is not known. Stored by that worker.
type workerThread struct{ id atomic.Int64 }

// note is called before the tasks may be taken.
func (t *workerThread) note() {
	if waits.Load() {
		t.id.Store(thread.ID())
	} else if t.id.Load() != 0 {
		t.id.Store(0)
	}
}

// mayBe reports whether a goroutine on the thread id may be the worker.
func (t *workerThread) mayBe(id int64) bool {
	at := t.id.Load()
	return at == 0 || at == id
}

// beforeBlock is called by a goroutine before it waits for a connection.
func beforeBlock() {
	if offers.Load() == 0 {
		return
	}
	if !waits.Load() {
		waits.Store(true)
	}
	id := thread.ID()
	if list := pollers.current.Load(); list != nil {
		for _, p := range *list {
			for _, w := range *p.workers.list.Load() {
				if w.thread.mayBe(id) {
					p.rescue(w, false)
				}
			}
		}
	}
}
