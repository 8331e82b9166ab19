package load

// This file holds the generator: its connections, and the one loop that serves them.

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/bench/internal/frame"
	"github.com/cloudwego/netpoll/bench/internal/sock"
	"github.com/cloudwego/netpoll/internal/uring"
)

const (
	batch       = 256     // events that are handled together
	slotMemory  = 8 << 20 // of receive memory, all slots together
	connsByFrom = 20000   // connections from one source address, which has about 28000 ports
	// spinTime is how long before a request is due the generator polls without blocking: a timer of the kernel may
	// fire tens of microseconds late.
	spinTime = 100 * time.Microsecond
)

// Generator holds open connections. Its methods belong to one goroutine.
type Generator struct {
	spec     Spec
	messages frame.Messages
	conns    []*conn
	active   []*conn
	poll     *sock.Poll
	ring     *uring.Ring // nil for plain system calls
	slots    [][]byte
	events   [batch]unix.EpollEvent
	room     int // how many events are handled at once

	base  time.Time // of the clock
	now   int64     // the clock when it was last read
	ready []*conn   // have something to send
	idle  []*conn   // open loop: connections with room for a request, first in first out
	err   error     // the first failure

	plan       schedule
	next       int // open loop: the next request to send
	begin, end int64
	answered   int   // responses since the start
	settled    int   // open loop: answered requests of the window
	progress   int64 // when the last response came
	busy       int64 // time with something to do, in ns
	under      int   // requests queued or under way
	ending     bool  // closed loop: the window is over, no new request is sent
	res        Result
}

// Open opens the connections.
func Open(spec Spec) (*Generator, error) {
	if err := spec.validate(); err != nil {
		return nil, err
	}
	messages, err := spec.messages()
	if err != nil {
		return nil, err
	}
	g := &Generator{spec: spec, messages: messages, base: time.Now()}
	if g.poll, err = sock.NewPoll(); err != nil {
		return nil, err
	}
	if err := g.prepare(); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return g, nil
}

// prepare makes the ring, the poll and the connections, which Close frees.
func (g *Generator) prepare() (err error) {
	size := min(max(4<<10, g.messages.Len()*g.spec.Depth), 128<<10)
	slots := 1
	if !g.spec.Plain {
		slots = min(batch, slotMemory/size)
		if g.ring, err = uring.New(uint32(slots)); err != nil {
			return fmt.Errorf("ring of the generator: %w", err)
		}
		slots = min(slots, g.ring.Cap())
	}
	g.room = batch
	if g.ring != nil {
		g.room = slots
	}
	for range slots {
		g.slots = append(g.slots, make([]byte, size))
	}
	for i := range g.spec.Conns {
		fd, err := sock.Dial(g.spec.Addr, byte(1+i/connsByFrom))
		if err != nil {
			return fmt.Errorf("connection %d of %d: %w", i, g.spec.Conns, err)
		}
		c := newConn(fd, i, g.spec.Depth, g.messages)
		g.conns = append(g.conns, c)
		if err := g.poll.Add(fd, unix.EPOLLIN, c.index); err != nil {
			return err
		}
	}
	for i := range g.spec.Active { // spread, so that the active ones are not those accepted first
		g.active = append(g.active, g.conns[i*g.spec.Conns/g.spec.Active])
	}
	return nil
}

// Close closes the connections.
func (g *Generator) Close() error {
	for _, c := range g.conns {
		_ = unix.Close(c.fd) // an error of close loses no data here
	}
	if g.ring != nil {
		_ = g.ring.Close()
	}
	return g.poll.Close()
}

func (g *Generator) clock() int64 {
	g.now = int64(time.Since(g.base))
	return g.now
}

// Run generates the load once and returns the result. It needs a processor of its own. After an error there is no
// result: a response was wrong, or the server has ended.
func (g *Generator) Run() (*Result, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	runtime.GC()
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // the loop allocates next to nothing

	start := g.clock()
	g.begin = start + int64(g.spec.Warmup)
	g.end = g.begin + int64(g.spec.Window)
	g.progress = start
	g.res = Result{Latency: newHistogram(), Lag: newHistogram(), Elapsed: g.spec.Window}
	if g.open() {
		g.plan = newSchedule(g.spec.Rate, start, g.begin, g.end)
		for range g.spec.Depth {
			g.idle = append(g.idle, g.active...)
		}
	} else {
		for _, c := range g.active {
			for range g.spec.Depth {
				g.enqueue(c, start)
			}
		}
		g.flush()
	}
	if err := g.measure(); err != nil {
		return nil, err
	}
	if g.open() {
		g.countUnanswered()
	}
	g.res.Total += g.answered
	return &g.res, nil
}

func (g *Generator) open() bool { return g.spec.Rate > 0 }

// measure runs the loop through the warm-up, the window, and the wait for late responses.
func (g *Generator) measure() error {
	call := func(f func()) {
		if f != nil {
			f()
		}
	}
	if err := g.loop(g.begin); err != nil {
		return err
	}
	call(g.spec.Begin)
	begin, cpu := g.clock(), threadTime()
	g.res.Total = g.answered
	g.answered, g.busy = 0, 0
	if !g.open() { // the last batch of the warm-up may have ended late
		g.begin, g.end = begin, begin+int64(g.spec.Window)
	}
	if err := g.loop(g.end); err != nil {
		return err
	}
	call(g.spec.End)
	elapsed := g.clock() - begin
	g.res.Elapsed = time.Duration(elapsed)
	g.res.Requests = g.answered
	g.res.ClientCPU = float64(threadTime()-cpu) / float64(elapsed)
	g.res.ClientBusy = float64(g.busy) / float64(elapsed)
	g.ending = true
	return g.loop(g.end + int64(drainTime))
}

// finished reports whether all responses have come that the end of a run waits for. An open loop still sends requests
// then, and waits for the responses to those of the window only. A closed loop waits for all responses, so that no
// connection is closed with a request under way.
func (g *Generator) finished() bool {
	if g.open() {
		return g.settled == g.plan.planned()
	}
	return g.under == 0
}

// loop runs until the given time. After the window it ends as soon as finished reports true.
func (g *Generator) loop(until int64) error {
	for g.clock(); g.now < until; {
		if until > g.end && g.finished() {
			return nil
		}
		if g.open() {
			g.sendDue()
			g.flush()
		}
		n, err := g.poll.Wait(g.events[:g.room], g.patience(until))
		if err != nil {
			return err
		}
		woken := g.clock()
		if n == 0 {
			if !g.open() && !g.ending && g.now-g.progress > int64(stallTime) {
				return errStalled
			}
			continue
		}
		g.handle(g.events[:n])
		g.flush()
		g.busy += g.clock() - woken
		if g.err != nil {
			return g.err
		}
	}
	return nil
}

// patience returns how long to wait for events.
func (g *Generator) patience(until int64) time.Duration {
	if g.open() && len(g.idle) > 0 {
		until = min(until, g.plan.due(g.next)-int64(spinTime))
	}
	return time.Duration(until - g.now)
}

// sendDue queues the requests that are due, as long as a connection has room for one.
func (g *Generator) sendDue() {
	began := g.now
	n := 0
	for ; len(g.idle) > 0; n++ {
		due := g.plan.due(g.next)
		if due > g.now {
			break
		}
		c := g.idle[0]
		g.idle = g.idle[1:]
		g.next++
		if g.plan.in(due) {
			record(g.res.Lag, g.now-due)
		}
		g.enqueue(c, due)
	}
	if n > 0 {
		g.flush()
		g.busy += g.clock() - began
	}
}

// countUnanswered records the requests of the window without a response: those that were sent, and those for which no
// connection was free.
func (g *Generator) countUnanswered() {
	missing := func(due int64) {
		if g.plan.in(due) {
			record(g.res.Latency, g.now-due)
			g.res.Unanswered++
		}
	}
	for _, c := range g.active {
		for c.waiting > 0 {
			missing(c.answered())
		}
		for _, due := range c.queued {
			missing(due)
		}
	}
	for ; g.plan.due(g.next) < g.end; g.next++ {
		missing(g.plan.due(g.next))
	}
}

// threadTime returns the processor time of this thread, in nanoseconds.
func threadTime() int64 {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t) != nil {
		return 0
	}
	return t.Nano()
}

// latency records a response to a request that was due at the given time.
func (g *Generator) latency(h *hdrhistogram.Histogram, due int64) {
	counts := g.now >= g.begin && g.now < g.end
	if g.open() {
		counts = g.plan.in(due)
	}
	if counts {
		record(h, g.now-due)
		g.settled++
	}
}
