//go:build interleave && linux && !netconn

package netpoll

// Accepting under every schedule: a server that is full or out of descriptors pauses, goes on when there is reason to,
// and ends, while connections come and go.

import (
	"context"
	"net"
	"testing"

	"github.com/cloudwego/netpoll/internal/interleave"
	"github.com/cloudwego/netpoll/internal/interleave/explored"
	"github.com/cloudwego/netpoll/internal/interleave/sync"
)

// gate is a listener made of memory, with the poller that watches it.
type gate struct {
	Listener
	listenerState
	r   *interleave.Run
	a   *acceptor
	srv *server

	backlog  int // new connections
	noFiles  int // so many cannot be accepted without descriptors
	accepted int
	linger   bool // the user does not close accepted connections
	lines    []*line

	watch  sync.Mutex // as that of a watch
	asked  bool       // guarded by watch
	closed bool
}

// newGate makes a server that serves it.
func newGate(r *interleave.Run, backlog, maxConns int) *gate {
	g := &gate{r: r, backlog: backlog, srv: newServer(&options{maxConns: maxConns})}
	g.a = newAcceptor(g.srv, g)
	g.srv.addAcceptor(g.a)
	for range backlog {
		g.lines = append(g.lines, makeLine(r, 100))
	}
	if err := g.bind(g.a); err != nil {
		r.Failf("bind: %v", err)
	}
	_ = g.open()
	r.Daemon("poller", g.ready, g.poll)
	r.Check(g.check)
	return g
}

func (g *gate) newSource(*acceptor) acceptSource  { return g }
func (g *gate) opError(_ string, err error) error { return err }
func (g *gate) closedError(string) error          { return net.ErrClosed }

func (g *gate) closesSlowly() bool { return false }

// open implements acceptSource.
func (g *gate) open() error {
	g.updateInterest()
	return nil
}

// updateInterest works like that of a watch.
func (g *gate) updateInterest() {
	g.watch.Lock()
	defer g.watch.Unlock()
	g.asked = !g.a.paused.Load()
}

func (g *gate) close() {
	g.watch.Lock()
	defer g.watch.Unlock()
	g.closed = true
}

// Close works like that of a listener.
func (g *gate) Close() error {
	if a, first := g.shut(); first && a != nil {
		a.listenerClosed(false)
	}
	return nil
}

// ready says that there is something to report.
func (g *gate) ready() bool { return g.asked && !g.closed && g.backlog > 0 }

func (g *gate) poll() {
	for {
		interleave.Await("look", g, g.ready)
		if !g.acceptOne() {
			g.r.Idle() // the listener stays ready until another thread acts
			continue
		}
		for g.acceptOne() {
		}
	}
}

// acceptOne works like that of an acceptWatch.
func (g *gate) acceptOne() bool {
	if !g.a.acquire() {
		return false
	}
	interleave.Step("accept", g)
	switch {
	case g.backlog == 0:
		g.srv.limit.release()
		return false
	case g.noFiles > 0:
		g.noFiles--
		g.srv.limit.release()
		g.a.pauseForAWhile()
		return false
	}
	g.backlog--
	l := g.lines[g.accepted]
	g.accepted++
	if err := g.a.admit(l.c); err != nil {
		g.r.Failf("admit: %v", err)
	}
	if !g.linger {
		g.r.Go("user", func() { _ = l.c.Close() })
	}
	return true
}

func (g *gate) check() {
	s := g.srv
	open := 0
	for c := s.first; c != nil; c = c.link.next {
		open++
	}
	l := &s.limit
	waits := len(l.waiting) + len(s.backingOff)
	switch {
	case l.held != open:
		g.r.Failf("%d connections are counted, of %d", l.held, open)
	case l.max > 0 && l.held > l.max:
		g.r.Failf("%d connections", l.held)
	case g.a.ended != g.closed, g.a.ended != isClosed(g.a.done), g.a.ended && g.a.paused.Load():
		g.r.Failf("ended %v, source closed %v, done %v", g.a.ended, g.closed, isClosed(g.a.done))
	case !g.a.ended && g.asked == g.a.paused.Load():
		g.r.Failf("paused %v, and the listener is watched: %v", g.a.paused.Load(), g.asked)
	case waits > 1 || g.a.paused.Load() != (waits == 1):
		g.r.Failf("paused %v, waits %d times", g.a.paused.Load(), waits)
	case (g.a.retry != nil) != (len(s.backingOff) == 1):
		g.r.Failf("%d back off, and a time to try again is set: %v", len(s.backingOff), g.a.retry != nil)
	case s.ending.Load() && (l.held == 0) != isClosed(l.empty):
		g.r.Failf("%d connections, empty: %v", l.held, isClosed(l.empty))
	case s.ending.Load() && !g.a.ended:
		g.r.Failf("the server has ended and accepts")
	}
}

// shutdown begins it without waiting.
func (g *gate) shutdown() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = g.srv.Shutdown(ctx)
}

// passes lets so many times of waiting pass.
func (g *gate) passes(times int) {
	for range times {
		interleave.Step("pass", g)
		g.r.Advance(maxBackOff)
	}
}

func TestScheduleFullServerGoesOnWhenAConnectionHasEnded(t *testing.T) {
	explored.Explore(t, 2, func(r *interleave.Run) {
		g := newGate(r, 3, 1)
		r.Check(func() {
			if g.accepted != 3 || g.srv.limit.held != 0 {
				r.Failf("%d accepted, %d wait", g.accepted, g.backlog)
			}
		})
	})
}

func TestScheduleServerWithoutDescriptorsGoesOn(t *testing.T) {
	explored.Explore(t, 2, func(r *interleave.Run) {
		g := newGate(r, 3, 2)
		g.noFiles = 2
		r.Go("clock", func() { g.passes(2) })
		r.Check(func() {
			if g.accepted == 3 || g.a.paused.Load() && g.a.retry != nil { // it may still wait for its time
				return
			}
			r.Failf("%d accepted, %d wait", g.accepted, g.backlog)
		})
	})
}

func TestScheduleShutdownAgainstPauseAndAccept(t *testing.T) {
	for _, tc := range []struct {
		name  string
		other func(g *gate)
	}{
		{"twice", func(g *gate) { g.shutdown() }},
		{"listener closed", func(g *gate) { _ = g.Close() }},
		{"no descriptors", func(g *gate) { g.noFiles = 1; g.passes(1) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			explored.Explore(t, 2, func(r *interleave.Run) {
				g := newGate(r, 1, 1)
				r.Go("shutdown", g.shutdown)
				r.Go("other", func() { tc.other(g) })
				r.Check(func() {
					if !isClosed(g.srv.limit.empty) {
						r.Failf("Shutdown never ends: %d connections", g.srv.limit.held)
					}
				})
			})
		})
	}
}

// Shutdown closes connections that are idle, also one that is accepted at that moment.
func TestScheduleShutdownClosesWhatComesLast(t *testing.T) {
	explored.Explore(t, 2, func(r *interleave.Run) {
		g := newGate(r, 2, 0)
		g.linger = true
		r.Go("shutdown", g.shutdown)
		r.Check(func() {
			if !isClosed(g.srv.limit.empty) {
				r.Failf("%d connections are left", g.srv.limit.held)
			}
		})
	})
}
