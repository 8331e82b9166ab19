//go:build linux && !netconn

package netpoll

// Checks of a simulated connection that has ended, and its handler.

// judge compares the events with the promises. No party is active any more.
func (l *simLife) judge() {
	b := l.c.life.load()
	const sides = bitReading | bitProducing | bitFlushing | bitRunning | bitPending | bitSending | bitInPoll |
		bitSendInFlight | bitEOFHeld
	if b.phase() < phaseReleased || b.refs() != 0 || b.has(sides) {
		l.fail("at the end: %v", b)
	}
	l.judgeInput(b)
	l.judgeOutput(b)
	l.judgeCallbacks(b)
	if l.plan.carrier.served() && !l.plan.carrier.foreign() && l.plan.tls == 0 && l.plan.shm == 0 {
		// A report says that there is something to receive, that there is room again, or that the peer has ended. So
		// there are not many more than things that happened.
		if polls, most := l.polls.Load(), int64(64+8*l.steps())+l.peer.sent/64; polls > most {
			l.fail("%d reports of the poller for %d steps and %d bytes", polls, l.steps(), l.peer.sent)
		}
		if idle, most := l.idle.Load(), l.polls.Load()+l.versions.Load()+16; idle > most {
			l.fail("%d calls of a handler that consumed nothing, for %d reports", idle, l.polls.Load())
		}
	}
}

func (l *simLife) steps() int {
	p := l.plan
	return l.reader.steps + l.writer.steps + l.handler.steps + l.peer.steps +
		p.reader.done() + p.writer.done() + p.handler.done() + p.control.done() + p.peer.done()
}

func (l *simLife) judgeInput(b lifeBits) {
	total := l.reader.pos
	if at := l.in.Differs(total, l.handler.beyond); at >= 0 {
		l.fail("what was left in the descriptor differs at %d", at)
	}
	total += l.beyond
	orderly := b.has(bitEnded) && b.errno() == 0
	switch {
	case total > l.peer.sent:
		l.fail("%d bytes were received, %d sent", total, l.peer.sent)
	case total < l.peer.sent && orderly:
		l.fail("an orderly end after %d bytes, %d were sent: %v", total, l.peer.sent, b)
	case l.trusted >= 0 && l.trusted < l.peer.sent && b.errno() == 0:
		l.fail("inactive, and no input, after %d bytes, %d were sent: %v", l.trusted, l.peer.sent, b)
	case total < l.peer.sent && l.sawEOF:
		l.fail("told of the end after %d bytes, %d were sent: %v", total, l.peer.sent, b)
	}
	own := l.closes.Load() && !(l.plan.end == endPeerFin && l.plan.owner == ownerUser && !l.plan.lazy)
	if l.peer.fin && !own && !l.w.shuts.Load() && !l.w.faulty && l.plan.panics+l.plan.exits == "" &&
		!l.handler.closed && !l.plan.rejected {
		if !orderly {
			l.fail("the peer has ended in order, and here it is %v", b)
		}
		l.w.orderlyIn.Add(1)
	}
}

func (l *simLife) judgeOutput(b lifeBits) {
	p, w := l.peer, l.writer
	switch {
	case p.got > w.pos:
		l.fail("the peer has received %d bytes of %d", p.got, w.pos)
	case l.w.faulty && b.errno() != 0:
		// The socket was only reported as broken; its peer does not notice.
	case p.eof && p.broken == nil && p.got < w.flushed && !l.forgets.Load() && !b.has(bitSendFailed):
		l.fail("the peer was told of the end after %d bytes; %d had been flushed: %v", p.got, w.flushed, b)
	case p.eof && p.broken == nil:
		l.w.orderlyOut.Add(1)
		if l.plan.tls != 0 {
			l.w.sessions.Add(1)
		}
		if l.plan.shm != 0 {
			l.w.shared.Add(1)
		}
	}
}

func (l *simLife) judgeCallbacks(b lifeBits) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, n := range l.callbacks {
		if n != 1 {
			l.fail("close callback %d has run %d times", i, n)
		}
	}
	served := l.plan.carrier.served()
	switch {
	case l.plan.rejected && l.connects+l.requests+l.disconnects > 0:
		l.fail("callbacks of a connection that was rejected: %+v", &l.simOrder)
	case served && !l.plan.rejected && l.connects != 1 && !l.w.faulty && !(l.plan.tls != 0 && l.w.shuts.Load()):
		l.fail("OnConnect has run %d times", l.connects)
	case l.disconnects > 1 || l.disconnects != l.disconnected:
		l.fail("OnDisconnect has run %d times", l.disconnects)
	case b.has(bitPeerClosed) && b.has(bitConnected) && l.disconnects == 0 && (served || l.plan.early):
		l.fail("OnDisconnect has not run: %v", b)
	case !b.has(bitPeerClosed) && l.disconnects > 0:
		l.fail("OnDisconnect has run, and the peer was there: %v", b)
	case l.plan.owner == ownerHandler && b.cause() == causePeer && b.errno() == 0 && l.requests == 0:
		l.fail("closed for its peer's end, and OnRequest has not run: %v", b)
	case l.plan.halfOpen && b.cause() == causePeer && b.errno() == 0:
		l.fail("closed for its peer's end, although it may be half-open: %v", b)
	case l.plan.end.byPeer() && !l.closes.Load() && !b.has(bitPeerClosed) && !l.w.shuts.Load() && !l.w.faulty:
		l.fail("the peer has ended, unnoticed: %v", b)
	}
}

// simHandler is the OnRequest. It is used by one call at a time, which is part of what is tested.
type simHandler struct {
	l      *simLife
	set    int64 // the newest handler that was set here
	closed bool
	done   bool   // this call returns
	beyond []byte // what Detach has left in the descriptor
	steps  int
}

// handlerActs is set by init, because some acts set handlers, which use it.
var handlerActs []simAct[*simHandler]

func init() {
	handlerActs = []simAct[*simHandler]{
		{"read", 12, func(h *simHandler, arg int) {
			if h.l.conn.Reader().Len() > 0 {
				readerActs[arg%len(readerActs)].do(h.l.reader, arg>>5<<4)
			}
		}},
		{"wait", 1, func(h *simHandler, arg int) { readerActs[0].do(h.l.reader, arg|15) }},
		{"write", 8, func(h *simHandler, arg int) { h.write(arg%len(writerActs), arg>>4) }},
		{"reply", 8, func(h *simHandler, arg int) {
			h.write(arg%5, arg>>4)
			if w := h.l.writer; !w.stop() {
				w.flush()
			}
		}},
		{"return", 6, func(h *simHandler, _ int) { h.done = true }},
		{"again", 1, func(h *simHandler, _ int) { h.set = h.l.setHandler() }},
		{"nothing", 1, func(h *simHandler, _ int) { h.l.leaves.Store(true); h.done = true }},
		{"pause", 1, func(_ *simHandler, arg int) { simPause(arg) }},
		{"release", 3, func(h *simHandler, _ int) { h.l.reader.release() }},
	}
}

func (h *simHandler) write(act, arg int) {
	if w := h.l.writer; !w.stop() {
		writerActs[act].do(w, arg)
	}
}

// lookForEnd is the last step of a handler that relies on IsActive and Len. One for which half-open connections are
// allowed closes when it has seen the end, or will not be called again because it has consumed nothing.
func (h *simHandler) lookForEnd(fruitless bool) {
	l := h.l
	over := !l.conn.IsActive()
	if l.c.life.load().phase() != phasePeerDone || !over {
		return
	}
	empty := l.conn.Reader().Len() == 0
	if empty && l.trusted < 0 && l.plan.owner == ownerHandler {
		l.trusted = l.reader.pos
	}
	if l.plan.halfOpen && (empty || fruitless) {
		_ = l.conn.Close()
	}
}

// handle is one call.
func (h *simHandler) handle() {
	l, r := h.l, h.l.reader
	if l.requests > 1+l.id%5 {
		l.maybePanic("OnRequest")
	}
	if l.plan.end == endUserClose && l.id%4 == 0 && l.requests > 3 {
		h.closed = true
		l.closes.Store(true)
		_ = l.conn.Close()
		return
	}
	before, ended := r.pos, r.ended
	h.done, r.waits = false, 0
	script := &l.plan.handler
	for !h.done && r.ended == ended && r.waits <= maxWaits && script.done() < len(script.steps) {
		s := script.steps[script.done()]
		script.at.Add(1)
		handlerActs[s.act].do(h, int(s.arg))
	}
	if script.done() == len(script.steps) { // it takes all that comes now
		h.steps++
		if n := l.conn.Reader().Len(); n > 0 {
			p, err := l.conn.Reader().Next(n)
			if r.ok("Next", n, n, err) {
				r.take(p, n)
			}
		}
		h.write(7, 0) // "flush"
		r.release()
	}
	if r.pos == before {
		l.idle.Add(1)
		l.leaves.Store(true)
	}
	h.lookForEnd(r.pos == before)
	if l.requests%3 == 0 {
		l.maybeEnd("OnRequest")
	}
}
