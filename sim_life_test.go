//go:build linux && !netconn

package netpoll

// One simulated connection: how it begins, its callbacks and the order they must keep, how it ends, and the verdict.

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/testkit"
)

// simLife is one connection with all that is known about it.
type simLife struct {
	w       *simWorld
	id      int
	plan    *simPlan
	in, out testkit.Stream // peer to user, user to peer
	conn    Connection
	c       *connection
	peer    *simPeer
	reader  *simReader
	writer  *simWriter
	control *simControl
	handler simHandler
	sawEOF  bool  // the reader got an orderly end
	beyond  int64 // bytes that were read from the descriptor after Detach
	trusted int64 // bytes read when a handler found the connection inactive, and without input; -1 if none did

	ready chan struct{} // the user may begin: OnConnect has been called, or there is none
	quiet chan struct{} // closed when no goroutine sets timeouts any more
	over  chan struct{} // closed by the close callback that runs last

	timed     atomic.Bool  // timeouts or deadlines were set
	forgets   atomic.Bool  // a close may give up pending output
	searches  atomic.Bool  // Until may hold any number of bytes
	leaves    atomic.Bool  // the handler leaves input, so that its limit grows
	handled   atomic.Bool  // handlers may be set
	closes    atomic.Bool  // this side ends it
	shutWrite atomic.Bool  // this side has ended its output
	limit     atomic.Int64 // the largest limit on unread input so far; 0: none
	asked     atomic.Int64 // most bytes that a reader has waited for
	stands    atomic.Int64 // how many have come to a standstill
	polls     atomic.Int64 // reports of the poller
	versions  atomic.Int64 // of the handler
	idle      atomic.Int64 // calls of the handler that consumed nothing

	setting sync.Mutex // held while a handler is set, so that the newest version is the one that is set

	mu sync.Mutex // guards the fields below, and makes the order of callbacks one order
	simOrder
}

// simOrder is which callbacks have run, and run.
type simOrder struct {
	prepared, connected       bool
	connecting                bool
	connects                  int
	requests, requesting      int
	floor                     int64 // the oldest handler that may be called
	disconnects, disconnected int
	callbacks                 []int // how often each close callback has run
	lowest                    int   // the last one that has run in the chain, -1 if none
	adding                    int   // the one that is being added, -1 if none
	closing                   bool  // the first of the chain has run
}

func newSimLife(w *simWorld, id int, plan *simPlan) *simLife {
	l := &simLife{w: w, id: id, plan: plan}
	l.in.Offset, l.out.Offset = int64(id)*977, int64(id)*977+testkit.StreamPeriod/2
	l.ready, l.quiet, l.over = make(chan struct{}), make(chan struct{}), make(chan struct{})
	l.lowest, l.adding = -1, -1
	l.peer = &simPeer{l: l}
	l.reader = &simReader{l: l}
	l.writer = &simWriter{l: l}
	l.control = &simControl{l: l}
	l.handler.l = l
	l.limit.Store(int64(plan.readLimit))
	l.trusted = -1
	return l
}

func (l *simLife) fail(format string, args ...any) {
	l.w.fail(fmt.Sprintf("connection %d: ", l.id)+fmt.Sprintf(format, args...), l)
}

// adopt notes the user's side of the connection, before anything can happen to it if it was accepted.
func (l *simLife) adopt(conn Connection) {
	l.conn, l.c = conn, inner(conn)
	_ = l.c.SetReadLimit(l.plan.readLimit)
	_ = l.c.SetAllowHalfOpen(l.plan.halfOpen)
	l.addCallback()
}

// countPolls makes the reports of the poller be counted. The connection has not been started.
func (l *simLife) countPolls() {
	if l.plan.carrier.foreign() || l.plan.tls != 0 || l.plan.shm != 0 {
		return // there is no poller, a layer above it, or another transport
	}
	l.c.common.up = &simInput{l.c, &l.polls}
}

// simInput counts what a poller reports to the connection.
type simInput struct {
	*connection
	polls *atomic.Int64
}

func (s *simInput) begin(ev pollEvent) bool {
	s.polls.Add(1)
	return s.connection.begin(ev)
}

// onPrepare runs for accepted connections only.
func (l *simLife) onPrepare(conn Connection) context.Context {
	l.adopt(conn)
	l.countPolls()
	l.mu.Lock()
	l.prepared = true
	l.mu.Unlock()
	ctx := context.WithValue(context.Background(), simKey{}, l)
	if l.plan.rejected {
		l.closes.Store(true)
		l.maybeEnd("OnPrepare")
		_ = conn.Close()
	}
	return ctx
}

func (l *simLife) onConnect(ctx context.Context, _ Connection) context.Context {
	l.mu.Lock()
	l.connects++
	if l.connects > 1 || l.connecting || l.plan.rejected || l.requests > 0 && l.plan.carrier.served() || l.closing {
		l.fail("OnConnect out of order: %+v", &l.simOrder)
	}
	l.connecting = true
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		l.connecting, l.connected = false, true
		l.mu.Unlock()
	}()
	if l.plan.carrier.served() {
		if l.plan.owner == ownerHandler && !l.plan.byServer {
			l.setHandler()
		}
		defer close(l.ready)
	}
	l.maybePanic("OnConnect")
	l.maybeEnd("OnConnect")
	return context.WithValue(ctx, simConnected{}, l)
}

type (
	simKey       struct{} // of the context that OnPrepare returns
	simConnected struct{} // of the one that OnConnect returns
)

func (l *simLife) onDisconnect(ctx context.Context, _ Connection) {
	l.mu.Lock()
	l.disconnects++
	if l.disconnects > 1 || l.connecting || l.closing || l.plan.carrier.served() && !l.connected {
		l.fail("OnDisconnect out of order: %+v", &l.simOrder)
	}
	l.mu.Unlock()
	if l.c.IsActive() {
		l.fail("OnDisconnect, and IsActive: %v", l.c.life.load())
	}
	if l.plan.carrier.served() && !l.plan.loses("OnConnect") && ctx.Value(simConnected{}) != l {
		l.fail("OnDisconnect without the context of OnConnect")
	}
	defer func() {
		l.mu.Lock()
		l.disconnected++
		l.mu.Unlock()
	}()
	l.maybePanic("OnDisconnect")
	l.maybeEnd("OnDisconnect")
}

// setHandler sets a new version of the handler, and returns it.
func (l *simLife) setHandler() (version int64) {
	l.setting.Lock()
	defer l.setting.Unlock()
	version = l.versions.Add(1)
	_ = l.conn.SetOnRequest(l.onRequest(version))
	return version
}

func (l *simLife) onRequest(version int64) OnRequest {
	return func(ctx context.Context, _ Connection) error {
		l.mu.Lock()
		l.requests++
		l.requesting++
		if l.requesting > 1 || l.connecting || l.closing || l.plan.carrier.served() && !l.connected {
			l.fail("OnRequest out of order: %+v", &l.simOrder)
		}
		if version < l.floor {
			l.fail("OnRequest of version %d, although version %d was set before", version, l.floor)
		}
		l.mu.Unlock()
		if l.plan.carrier.served() && !l.plan.loses("OnConnect") && ctx.Value(simConnected{}) != l {
			l.fail("OnRequest without the context of OnConnect")
		}
		defer func() {
			l.mu.Lock()
			l.requesting--
			l.floor = l.handler.set
			l.mu.Unlock()
		}()
		l.handler.handle()
		return nil
	}
}

// addCallback adds one more close callback. They are added by one goroutine at a time.
func (l *simLife) addCallback() {
	l.mu.Lock()
	i := len(l.callbacks)
	l.callbacks = append(l.callbacks, 0)
	l.adding = i
	l.mu.Unlock()
	_ = l.conn.AddCloseCallback(func(Connection) error { l.closeCallback(i); return nil })
	l.mu.Lock()
	l.adding = -1
	l.mu.Unlock()
}

func (l *simLife) closeCallback(i int) {
	l.mu.Lock()
	l.callbacks[i]++
	if l.callbacks[i] > 1 || l.requesting > 0 || l.connecting || l.disconnects != l.disconnected {
		l.fail("close callback %d out of order: %+v", i, &l.simOrder)
	}
	late := l.adding == i // perhaps for the chain; then it runs in the goroutine that adds it
	if !late {
		if l.closing && i >= l.lowest {
			l.fail("close callback %d after %d", i, l.lowest)
		}
		l.closing, l.lowest = true, i
	}
	l.mu.Unlock()
	if i == 0 {
		defer close(l.over)
	}
	if i == 1 {
		l.maybePanic("CloseCallback")
	}
	if i == 1 && !late {
		l.maybeEnd("CloseCallback")
	}
}

// maybePanic panics if that is the plan for the callback what.
func (l *simLife) maybePanic(what string) {
	if l.plan.panics == what {
		l.closes.Store(true)
		l.w.panics.Add(1)
		panic("planned for " + what)
	}
}

// maybeEnd ends the goroutine if that is the plan for the callback what.
func (l *simLife) maybeEnd(what string) {
	if l.plan.exits == what {
		l.closes.Store(true)
		l.w.exits.Add(1)
		runtime.Goexit()
	}
}

// endsHere reports whether this side has been ended, by its user or by rule.
func (l *simLife) endsHere() bool {
	return l.closes.Load() || l.w.faulty || l.w.shuts.Load() || l.c.life.load().phase() >= phaseClosing
}

func (l *simLife) released() bool { return l.c.life.load().phase() >= phaseReleased }

// buffered is how much input is buffered at one moment. Len by itself counts what a reader consumes while it looks.
func (l *simLife) buffered() int64 {
	for {
		consumed, n := l.c.in.consumed(), l.c.in.Len()
		if l.c.in.consumed() == consumed {
			return int64(n)
		}
	}
}

// checkBound checks how much input is buffered.
func (l *simLife) checkBound() {
	if l.plan.readLimit == 0 {
		return
	}
	have := l.buffered() // first, because the limits may be raised meanwhile
	limit := l.limit.Load() + l.plan.beyondLimit()
	if l.searches.Load() || l.leaves.Load() || l.c.takesRest() {
		return
	}
	if have > max(limit, l.asked.Load()+l.plan.beyondLimit()) {
		l.fail("%d bytes are buffered; the bound was %d at most, and nobody wanted more than %d", have, limit, l.asked.Load())
	}
}

// begin connects.
func (l *simLife) begin() {
	switch l.plan.carrier {
	case servedTCP, servedUnix, servedForeign:
		l.peer.attach(l.w.dialServer(l))
		_ = l.peer.conn.SetDeadline(time.Now().Add(simPatience))
		l.peer.handshake()
		_ = l.peer.conn.SetDeadline(time.Time{})
	case dialedTCP, dialedUnix, dialedForeign:
		conn, peer := l.w.dialPeer(l)
		l.peer.attach(peer)
		l.adopt(conn)
		l.handshakeBoth()
		if l.plan.carrier.foreign() && l.plan.readLimit > 0 { // its first Read has begun
			l.limit.Store(max(l.limit.Load(), idleRead))
		}
	case pairOfSockets:
		conn, peer := connectPair(l.w.t)
		l.peer.attach(peer)
		l.adopt(conn)
	}
	if l.plan.carrier.served() {
		return
	}
	if l.plan.loses("OnConnect") || l.plan.lazy {
		_ = l.c.SetOnConnect(l.onConnect)
	}
	if l.plan.early {
		_ = l.c.SetOnDisconnect(l.onDisconnect)
	}
	if l.plan.owner == ownerHandler {
		l.setHandler()
	}
	close(l.ready)
}

// live is the whole life of the connection.
func (l *simLife) live() {
	l.begin()
	l.w.begun.Done()
	var actors sync.WaitGroup
	actors.Go(l.peer.live)
	select {
	case <-l.ready:
		l.liveHere()
	case <-l.over: // it was rejected, or could not be started
		close(l.quiet)
	}
	l.closeHere() // at the latest
	actors.Wait()
	l.await()
	l.reader.leftover()
	l.judge()
	l.w.count(l)
}

// liveHere runs this side.
func (l *simLife) liveHere() {
	var users sync.WaitGroup
	l.handled.Store(l.plan.owner == ownerHandler)
	if l.plan.owner != ownerHandler {
		users.Go(l.read)
	}
	if l.plan.owner == ownerUser {
		users.Go(l.write)
	}
	perform(l.control, controlActs, &l.plan.control, l.released)
	close(l.quiet)
	l.end()
	users.Wait()
	if l.plan.end.byPeer() {
		if l.plan.owner == ownerUser || !l.handled.Load() {
			l.closes.Store(true)
			_ = l.conn.SetWriteTimeout(0) // so that nothing that was flushed is given up
			l.forgets.Store(false)
			l.closeHere()
		} else {
			l.await() // it ends by itself
		}
	}
}

func (l *simLife) read() {
	r := l.reader
	perform(r, readerActs, &l.plan.reader, func() bool { return r.ended != nil || r.waits > maxWaits })
	if l.plan.owner == ownerSwitch {
		r.shown, r.ended = nil, nil
		l.handled.Store(true)
		l.setHandler()
	} else if !l.plan.lazy {
		r.finish()
	}
}

func (l *simLife) write() {
	w := l.writer
	perform(w, writerActs, &l.plan.writer, w.stop)
	w.finish()
	if l.plan.canCloseWrite && w.broken == nil {
		l.shutWrite.Store(true)
		_ = l.c.CloseWrite()
	}
}

// closeHere closes for its user.
func (l *simLife) closeHere() { apart(func() { _ = l.conn.Close() }) }

// apart runs f in a goroutine that a close callback, which may run in it, may end.
func apart(f func()) {
	var done sync.WaitGroup
	done.Go(f)
	done.Wait()
}

// end ends the connection if that is for this side to do.
func (l *simLife) end() {
	switch l.plan.end {
	case endStall:
		l.stands.Add(1)
		<-l.w.goOn
		fallthrough
	case endUserClose:
		l.closes.Store(true)
		l.closeHere()
	case endDetach:
		l.closes.Store(true)
		if l.plan.carrier.foreign() {
			l.detachForeign()
			return
		}
		fd := l.c.Fd()
		var err error
		apart(func() { err = l.c.Detach() })
		if err != nil {
			return // another goroutine was faster
		}
		<-l.over
		l.readOn(fd)
		_ = unix.Close(fd)
	}
}

// readOn reads what the kernel has beyond the input of a connection that was detached.
func (l *simLife) readOn(fd int) {
	buf := make([]byte, testkit.MaxPiece)
	var all []byte
	for {
		n, _, err := unix.Recvfrom(fd, buf, unix.MSG_DONTWAIT)
		if err != nil || n <= 0 {
			break
		}
		all = append(all, buf[:n]...)
	}
	l.beyond = int64(len(all))
	l.handler.beyond = all
}

// await waits until the connection has been released and its close callbacks have run.
func (l *simLife) await() {
	deadline := time.NewTimer(simPatience)
	defer deadline.Stop()
	select {
	case <-l.over:
	case <-deadline.C:
		l.fail("not released %v after its end: %v\n%s", simPatience, l.c.life.load(), testkit.Stacks())
	}
}
