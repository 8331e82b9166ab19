package netpoll

// This file holds the callbacks of a connection: which there are, and who runs them when.
//
// OnConnect and OnRequest are run by the task: at most one is under way, claimed with bitRunning. An event that comes
// while it runs sets bitNotified, and it looks again. OnDisconnect runs beside it. The close callbacks run at the very
// end, when no call is inside any more.

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/cloudwego/netpoll/internal/interleave/atomic"
	"github.com/cloudwego/netpoll/internal/interleave/clock"
	"github.com/cloudwego/netpoll/internal/interleave/sync"
	"github.com/cloudwego/netpoll/internal/metric"
	"github.com/cloudwego/netpoll/internal/runner"
	"github.com/cloudwego/netpoll/internal/wait"
)

// OnPrepare is called first on an accepted connection, before anything is read from it. It may set timeouts, add close
// callbacks, or close the connection to turn the peer away: then neither OnConnect nor OnRequest is called for it. What
// it returns is the context of the later callbacks; nil stands for the background context.
//
// It runs where the new connection was accepted, and accepting waits for it: it must be quick, and must not use Reader
// or Writer. If that is the goroutine of Serve, an OnPrepare that ends the goroutine ends Serve: see there.
type OnPrepare func(connection Connection) context.Context

// OnConnect is called when the connection is open, in the runner. It may read, write, block, and close. OnRequest is
// not called before it has returned, and gets the context that it returned; nil keeps the one from OnPrepare.
type OnConnect func(ctx context.Context, connection Connection) context.Context

// OnDisconnect is called once when the peer is gone, in the runner, with the context that OnConnect returned and not
// before it has returned. OnRequest may be running at that moment, and reads what the peer sent before it went. It may
// read, write and flush: a peer that has only ended its side gets the answer. A connection with an OnRequest is not
// closed before OnDisconnect has returned.
type OnDisconnect func(ctx context.Context, connection Connection)

// OnRequest is called when there is input, never twice at once for one connection:
//
//	func handle(ctx context.Context, c netpoll.Connection) error {
//		defer c.Reader().Release()
//		request, err := c.Reader().Next(size)
//		if err != nil {
//			return err
//		}
//		if _, err := c.Writer().WriteBinary(reply(request)); err != nil {
//			return err
//		}
//		return c.Writer().Flush()
//	}
//
// It is called again as long as it leaves input and has consumed some. If it has consumed nothing it is called again
// when more arrives, when another handler is set, and one last time when the peer is gone. If the peer ends its side,
// or resets the connection, without having sent anything it is called once, with an empty Reader: an empty request may be
// answered, and a client that reads in its handler has to learn of the end. A handler that finds the connection
// inactive and the Reader empty has read to the end. It may block for as long as the connection lives while others
// read. The error it returns is ignored; to end the connection, close it. A handler that panics, or ends its goroutine,
// is not called again: its connection is closed.
//
// It runs in the runner or, if none was set by [Config], also on a goroutine of the poller: that saves the change of
// goroutine, which costs more than most requests. When it does not return soon, or waits for a connection, another
// goroutine goes on polling, and while many handlers are slow all of them go to the runner.
type OnRequest func(ctx context.Context, connection Connection) error

// callbacks are the functions of one connection, and the context they are called with.
type callbacks struct {
	onRequest    atomic.Pointer[OnRequest]
	onConnect    atomic.Pointer[OnConnect]
	onDisconnect atomic.Pointer[OnDisconnect]

	// base is what OnPrepare returned; stored by the goroutine that calls it.
	base atomic.Pointer[context.Context]
	// ctx is base, or a descendant, until OnConnect has returned another. Written before start and by the task that
	// runs OnConnect; all others read it after they have seen bitConnected.
	ctx context.Context
	// task is the method value connection.runDispatched, made once so that starting a task allocates nothing. Written by
	// the first owner of bitRunning, read by later ones.
	task func()
	// endSeen says that OnRequest has been called since the input ended, or is being called. Stored by the owner of
	// bitRunning, before the call: a goroutine that sees it without bitRunning knows that the call has returned.
	endSeen atomic.Bool

	// mu guards the fields below.
	mu      sync.Mutex
	closed  bool // the close callbacks have been taken
	ended   bool // and have returned
	polls   bool // the transport is a pollingTransport. Constant after it is made, so it needs no lock; there is room here
	onClose []CloseCallback
}

// take copies what a server gives to each of its connections.
func (b *callbacks) take(o *options) {
	if o.onRequest != nil {
		b.onRequest.Store(&o.onRequest)
	}
	if o.onConnect != nil {
		b.onConnect.Store(&o.onConnect)
	}
	if o.onDisconnect != nil {
		b.onDisconnect.Store(&o.onDisconnect)
	}
}

// takeCloseCallbacks returns the close callbacks to the caller, which runs them. Those that are added later run at
// once.
func (b *callbacks) takeCloseCallbacks() (list []CloseCallback) {
	b.mu.Lock()
	defer b.mu.Unlock()
	list = b.onClose
	b.onClose, b.closed, b.ended = nil, true, len(list) == 0
	return list
}

// endCloseCallbacks notes that the callbacks taken have returned.
func (b *callbacks) endCloseCallbacks() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = true
}

// hasCloseCallbacks reports whether a close callback has not been called, or has not returned, yet.
func (b *callbacks) hasCloseCallbacks() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.onClose) > 0 || b.closed && !b.ended
}

// SetOnRequest implements Connection.
func (c *connection) SetOnRequest(on OnRequest) error {
	if on == nil {
		return nil
	}
	c.calls.onRequest.Store(&on)
	c.use()
	if c.life.load().phase() > phaseOpening {
		c.resumeInput() // with a handler, the input has no limit once the peer has ended its side
		c.triggerRequest(nil)
		c.closeIfDone()
	}
	return nil
}

// SetOnConnect sets the callback for the beginning of the connection's life. On a connection that is alive already,
// such as a dialed one, it is called at once, in the runner and before any further OnRequest. A nil callback changes
// nothing.
func (c *connection) SetOnConnect(onConnect OnConnect) error {
	if onConnect == nil {
		return nil
	}
	c.calls.onConnect.Store(&onConnect)
	c.use()
	if c.life.clearConnected() && c.life.load().phase() > phaseOpening && !c.unready() {
		c.trigger(nil)
	}
	return nil
}

// SetOnDisconnect sets the callback for the moment when the peer is gone; see [OnDisconnect]. If that moment has passed
// and no other callback has been called for it, this one is called at once. A nil callback changes nothing.
func (c *connection) SetOnDisconnect(onDisconnect OnDisconnect) error {
	if onDisconnect == nil {
		return nil
	}
	c.calls.onDisconnect.Store(&onDisconnect)
	c.startDisconnect()
	return nil
}

// AddCloseCallback implements Connection.
func (c *connection) AddCloseCallback(callback CloseCallback) error {
	if callback == nil {
		return nil
	}
	b := &c.calls
	b.mu.Lock()
	closed := b.closed
	if !closed {
		b.onClose = append(b.onClose, callback)
	}
	b.mu.Unlock()
	if closed {
		c.guard("CloseCallback", func() { _ = callback(c.self) })
	}
	return nil
}

// triggerRequest is trigger where there is something for OnRequest to do.
func (c *connection) triggerRequest(b *batch) {
	if c.calls.onRequest.Load() != nil && c.requestDue(c.life.load()) {
		c.trigger(b)
	}
}

// requestDue reports whether there is something for OnRequest in the state b: input, or the end of it. To a handler, an
// inactive connection without input has ended. So if the peer's end was noticed before there was a handler, and part of
// the input is still in the kernel, the poller has to receive that part first.
func (c *connection) requestDue(b lifeBits) bool {
	if b.phase() == phasePeerDone && !b.has(bitEnded|bitSendFailed) && c.hungUp.Load() {
		return false // the poller receives the rest, and triggers the handler at the end
	}
	return c.in.Len() > 0 || c.lastCallDue(b)
}

// lastCallDue reports whether OnRequest has to be called for an end that left no input. It is called if the peer has
// not sent anything at all: OnRequest can answer a peer that has only ended its side, and a client that reads in its
// handler learns that the server left without a word. It is also called for an orderly end where half-open connections
// are allowed, because then OnRequest closes.
func (c *connection) lastCallDue(b lifeBits) bool {
	if !b.has(bitEnded) || c.calls.endSeen.Load() {
		return false
	}
	return c.halfOpen.Load() && b.errno() == 0 || c.in.received() == 0 && !b.has(bitReadShut)
}

// handlerDone reports whether an OnRequest has nothing to be called for any more, in the state b, in which the input has
// ended: it has been called since, or is not to be. An OnRequest that leaves input is not called again for that input.
// If it is to be called, the goroutine that noted the end or set the handler triggers the task.
func (c *connection) handlerDone(b lifeBits) bool {
	return c.calls.onRequest.Load() != nil && (c.calls.endSeen.Load() || !c.requestDue(b))
}

// trigger makes the task look for work, now or once more. If b can take it, it runs with that batch; but OnConnect,
// which may do more than answer a request, always goes to the runner.
func (c *connection) trigger(b *batch) {
	connected := c.life.load().has(bitConnected) || c.calls.onConnect.Load() == nil
	if c.life.startTask() && (c.calls.polls || !connected || !b.add(c)) {
		c.dispatch()
	}
}

// dispatch implements task.
func (c *connection) dispatch() {
	if c.calls.task == nil {
		c.calls.task = c.runDispatched
	}
	c.counts().Queued.Add(1)
	runner.Run(c.context(), c.calls.task)
}

// runDispatched is runTask in the runner.
func (c *connection) runDispatched() {
	counts := c.counts()
	counts.Started.Add(1)
	defer counts.Finished.Add(1)
	c.runTask()
}

// counts is where runs in the runner are counted.
func (c *connection) counts() *metric.Counters { return metric.Elsewhere.Shard(uint(c.id)) }

// runTask implements task: it runs until it finds nothing new to do.
func (c *connection) runTask() {
	own := bitRunning | bitNotified // until endTask has given them back
	defer func() { c.taskDone(own) }()
	for own != 0 {
		c.life.clearNotified()
		c.runHandlers()
		if c.life.endTask() {
			own = 0
		}
	}
}

// taskDone leaves for a task. A task that has come to its end owns nothing any more: bitRunning may be the next task's.
// A task whose callback has ended the goroutine still owns it; the connection is closed, so there is no next task.
func (c *connection) taskDone(own lifeBits) {
	c.touch() // the time with a handler does not count as idle
	c.leaveHere(own)
	c.closeIfDone()
}

// runHandlers runs OnConnect if it is due, and OnRequest as long as that consumes input, or has to see the end of the
// input.
func (c *connection) runHandlers() {
	for {
		if !c.life.load().has(bitConnected) {
			c.connect()
		}
		on := c.calls.onRequest.Load()
		b := c.life.load()
		if on == nil || b.phase() >= phaseClosing {
			return
		}
		if !c.requestDue(b) {
			if !c.awaitRequest(b) {
				return
			}
			continue
		}
		if b.has(bitEnded) {
			c.calls.endSeen.Store(true)
		}
		before := c.in.consumed()
		c.runOnRequest(*on)
		if c.in.consumed() == before {
			c.grantMore()
			return // it waits for more input, or for another handler: either triggers the task
		}
		c.window.endGrant()
	}
}

// awaitRequest polls for the next request, where the transport can, and reports whether to look for one.
func (c *connection) awaitRequest(b lifeBits) bool {
	if !c.calls.polls || b.phase() != phaseOpen || !runner.IsDefault() || !c.pollInput(wait.NoDeadline) {
		return false
	}
	c.life.clearNotified() // of that input
	return true
}

// grantMore doubles the limit on the input for a handler that has seen everything up to it and wants to see more.
func (c *connection) grantMore() {
	if c.full() || c.window.paused.Load() {
		c.window.grant(c.in.Len())
		c.resumeInput()
	}
}

// connect runs OnConnect. The work that waits for it goes on even if OnConnect ends the goroutine.
func (c *connection) connect() {
	defer c.startDisconnect()
	defer c.life.set(bitConnected)
	c.guard("OnConnect", c.runOnConnect)
}

func (c *connection) runOnConnect() {
	if on := c.calls.onConnect.Load(); on != nil {
		if ctx := (*on)(c.context(), c.self); ctx != nil {
			c.calls.ctx = ctx
		}
	}
}

func (c *connection) runOnRequest(on OnRequest) {
	c.guard("OnRequest", func() { _ = on(c.context(), c.self) }) // its error is ignored: see OnRequest
}

// startDisconnect runs OnDisconnect if it is due.
func (c *connection) startDisconnect() {
	if c.calls.onDisconnect.Load() != nil && c.life.claimDisconnect() {
		c.runDisconnect()
	}
}

// runDisconnect runs OnDisconnect, which was claimed, in a goroutine of its own: neither OnRequest, which may go on for
// long, nor another connection waits for it.
func (c *connection) runDisconnect() {
	runner.Run(c.context(), func() {
		defer c.closeIfDone()
		defer c.leaveHere(bitDisconnecting) // also if it ends its goroutine
		c.guard("OnDisconnect", func() { (*c.calls.onDisconnect.Load())(c.context(), c.self) })
	})
}

// context is what the callbacks are called with. OnConnect may replace it, so it is read before OnConnect, or by a
// goroutine that knows that OnConnect has returned.
func (c *connection) context() context.Context {
	if c.calls.ctx == nil {
		return context.Background()
	}
	return c.calls.ctx
}

// startContext is what the library's own tasks start with: they may start while OnConnect sets the callbacks' context.
func (c *connection) startContext() context.Context {
	if base := c.calls.base.Load(); base != nil {
		return *base
	}
	return context.Background()
}

// guard runs a callback. If the callback panics or ends its goroutine (runtime.Goexit), guard reports it and closes the
// connection; the server lives on. After the end of the goroutine only deferred calls of guard's callers run.
func (c *connection) guard(name string, f func()) {
	guardCallback(name, c.self, f, func(value any) { c.callbackFailed(name, value) })
}

// guardCallback runs a callback of conn, and failed if it panics or ends its goroutine. It reports one that is slow.
func guardCallback(name string, conn Connection, f func(), failed func(value any)) {
	if slow := slowHook.Load(); slow != nil {
		f = slow.timed(name, conn, f)
	}
	runner.Guard(f, failed)
}

// callbackFailed reports the failure and closes the connection, even if the logger panics.
func (c *connection) callbackFailed(name string, value any) {
	defer c.close(causePanic)
	reportFailure(PanicReport{Callback: name, Conn: c.self, Value: value, Stack: debug.Stack()}, c.peerName(), c.id)
}

// PanicReport describes a callback that has panicked; see [Config].
type PanicReport struct {
	// Callback is its name: "OnPrepare", "OnConnect", "OnRequest", "OnDisconnect", "CloseCallback", or, for a function of a
	// configuration of TLS, "the TLS handshake".
	Callback string
	// Conn is the connection, which is about to be closed.
	Conn Connection
	// Value is what the callback has panicked with, or an error that says that it has ended its goroutine.
	Value any
	// Stack is the stack of the goroutine, as [debug.Stack] returns it.
	Stack []byte
}

// SlowReport describes a callback that took long; see [Config].
type SlowReport struct {
	// Callback is its name, as in a [PanicReport]. A handshake of TLS is never reported.
	Callback string
	// Conn is the connection.
	Conn Connection
	// Took is how long it took, waiting included.
	Took time.Duration
}

// What Configure has set, nil for nothing.
var (
	panicHook atomic.Pointer[func(PanicReport)]
	slowHook  atomic.Pointer[slowHandlers]
)

// reportFailure logs r, and calls the hook for it. An id of 0 is none.
func reportFailure(r PanicReport, peer string, id uint64) {
	logPanic(failureText(r.Callback, peer, r.Value, r.Stack),
		"callback", r.Callback, "conn", id, "peer", peer, "panic", r.Value, "stack", string(r.Stack))
	if hook := panicHook.Load(); hook != nil {
		(*hook)(r)
	}
}

func failureText(name, peer string, value any, stack []byte) string {
	if value == runner.ErrGoexit {
		return fmt.Sprintf("%s of the connection with %s, which is closed, %v\n%s", name, peer, value, stack)
	}
	return fmt.Sprintf("panic in %s of the connection with %s, which is closed: %v\n%s", name, peer, value, stack)
}

// slowHandlers is which callbacks to report, and where.
type slowHandlers struct {
	limit  time.Duration
	report func(SlowReport)
}

// timed returns f with a report if it takes long.
func (s *slowHandlers) timed(name string, conn Connection, f func()) func() {
	if name == handshakeCallback { // which waits for the peer
		return f
	}
	return func() {
		start := clock.Now()
		defer func() {
			if took := time.Duration(clock.Now() - start); took >= s.limit {
				s.report(SlowReport{Callback: name, Conn: conn, Took: took})
			}
		}()
		f()
	}
}
