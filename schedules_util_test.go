//go:build interleave && linux && !netconn

package netpoll

// Helpers of the tests of schedules: a transport that is made of memory, with a poller that reports what there is to
// report. Each test runs with a limit on preemptions that takes seconds; see package explored for others.

import (
	"io"
	"net"
	"syscall"

	"github.com/cloudwego/netpoll/internal/interleave"
	"github.com/cloudwego/netpoll/internal/interleave/sync"
)

// line is a transport made of memory, and its poller. Each of its operations is a step.
type line struct {
	nowhere
	r     *interleave.Run
	c     *connection
	sends *sendQueue // of its poller; nil if that never sends

	input  string // has arrived and is not received
	eof    bool   // and nothing will come after it
	room   int    // for so many bytes
	broken error  // the error of send, which then takes no bytes
	reset  bool   // the peer has reset; the first call that asks gets it
	sent   string

	watch    sync.Mutex // as that of a watch
	asked    pollEvent  // guarded by watch
	told     pollEvent  // the events reported since the last change
	sending  bool
	receives bool
	shut     bool // closeWrite was called
	stopped  bool
	released int
	kept     bool
	ending   bool // the server is shutting down
}

// netConn implements endpoint: there is something that Detach can give back.
func (l *line) netConn() net.Conn { return memoryOfLine{} }

// memoryOfLine stands for what a line gives back; nobody uses it.
type memoryOfLine struct{ net.Conn }

// makeLine makes a connection over a line. It has yet to be started.
func makeLine(r *interleave.Run, room int) *line {
	l := &line{r: r, c: newConnection(""), room: room}
	c := l.c
	c.transport = l
	_, readTimeout, _ := c.reading.Atomics()
	_, writeTimeout, _ := c.writing.Atomics()
	r.Quiet(&c.idle, &c.derived, &c.remote, &c.window.limit, readTimeout, writeTimeout)
	r.Check(l.check)
	return l
}

// sendsOnly is for scenarios without input.
func (l *line) sendsOnly() {
	c := l.c
	waiting, _, deadline := c.reading.Atomics()
	l.r.Quiet(&c.window.lowWater, &c.window.readerQuota, &c.window.handlerQuota, &c.window.paused, &c.calls.onRequest,
		waiting, deadline)
}

// newLine makes a connection over a line that is open.
func newLine(r *interleave.Run, room int) *line {
	l := makeLine(r, room)
	if err := l.c.start(causePoller); err != nil {
		r.Failf("start: %v", err)
	}
	return l
}

// poll adds the poller.
func (l *line) poll() {
	ready := func() bool { return l.events() != 0 }
	l.r.Daemon("poller", ready, func() {
		for {
			interleave.Await("look", l, ready)
			ev, before := l.events(), len(l.input)+l.room
			l.told |= ev
			deliver(l, l.c, ev, nil)
			if l.events() == ev && len(l.input)+l.room == before {
				l.r.Idle() // the event comes again until another thread acts
			}
		}
	})
}

// events are the events to report. As with epoll, the room and the end are reported once where nothing is read.
func (l *line) events() (ev pollEvent) {
	if l.stopped {
		return 0
	}
	if l.input != "" || l.eof {
		ev |= evRead
	}
	if l.eof {
		ev |= evHup
	}
	if l.room > 0 || l.broken != nil {
		ev |= evWrite
	}
	ev &= l.asked
	if l.asked&evRead == 0 {
		ev &^= l.told
	}
	return ev
}

// arrives is the peer's sending.
func (l *line) arrives(s string) {
	interleave.Step("arrives", l)
	l.input += s
	l.told &^= evRead
}

// hangsUp is the peer's end.
func (l *line) hangsUp() {
	interleave.Step("hangs up", l)
	l.eof = true
	l.told &^= evRead | evHup
}

// resets is the peer's reset. As with sockets, one call gets it; later ones see the end only.
func (l *line) resets() {
	interleave.Step("resets", l)
	l.input, l.eof, l.reset, l.broken = "", true, true, syscall.EPIPE
	l.told = 0
}

// wasReset is true once after a reset.
func (l *line) wasReset() (reset bool) {
	reset, l.reset = l.reset, false
	return reset
}

// drains is the peer's reading.
func (l *line) drains(n int) {
	interleave.Step("drains", l)
	l.room += n
	l.told &^= evWrite
}

// check checks what must hold after every schedule.
func (l *line) check() {
	b := l.c.life.load()
	switch {
	case l.released > 1:
		l.r.Failf("released %d times", l.released)
	case l.released == 1 != (b.phase() >= phaseReleased):
		l.r.Failf("released %d times: %v", l.released, b)
	case b.phase() >= phaseReleased && b.refs() != 0, b.phase() < phaseClosing && b.refs() != 1+pendingRef(b):
		l.r.Failf("references: %v", b)
	case b.has(bitReading | bitProducing | bitFlushing | bitRunning | bitInPoll | bitSending | bitSendInFlight | bitEOFHeld):
		l.r.Failf("somebody is still inside: %v", b)
	case l.c.raw.held():
		l.r.Failf("the descriptor's input is still held")
	case l.c.window.paused.Load() && b.phase() < phaseClosing && int64(l.c.in.Len()) <= l.c.window.limit.Load()/2:
		l.r.Failf("nothing is received, with %d bytes buffered", l.c.in.Len())
	}
}

func pendingRef(b lifeBits) int {
	if b.has(bitPending) {
		return 1
	}
	return 0
}

// alive fails the run if the line was released.
func (l *line) alive(what string) {
	if l.released > 0 {
		l.r.Failf("%s after release", what)
	}
}

func (l *line) start() error { return l.updateInterest() }

// updateInterest works like that of a watch.
func (l *line) updateInterest() error {
	l.watch.Lock()
	defer l.watch.Unlock()
	l.asked = l.c.interest()
	l.told = 0
	return nil
}

func (l *line) stop(keep bool) error {
	interleave.Step("stop", l)
	l.stopped = true
	return nil
}

func (l *line) receive(p []byte) (n int, full bool, err error) {
	if l.receives {
		l.r.Failf("two receive at a time")
	}
	l.receives = true
	interleave.Step("receive", l)
	l.receives = false
	l.alive("receive")
	if l.wasReset() {
		return 0, false, syscall.ECONNRESET
	}
	if l.input == "" && l.eof {
		return 0, false, io.EOF
	}
	n = copy(p, l.input)
	l.input = l.input[n:]
	return n, n == len(p), nil
}

func (l *line) send(v *vector, _ int64) (n int, err error) {
	if l.sending {
		l.r.Failf("two send at a time")
	}
	l.sending = true
	interleave.Step("send", l)
	l.sending = false
	l.alive("send")
	switch {
	case l.wasReset():
		return 0, syscall.ECONNRESET
	case l.shut:
		return 0, syscall.EPIPE
	case l.broken != nil:
		return 0, l.broken
	case l.room == 0:
		return 0, errWouldBlock
	}
	for _, p := range v.Bufs[:v.N] {
		p = p[:min(len(p), l.room)]
		l.sent += string(p)
		l.room -= len(p)
		n += len(p)
	}
	return n, nil
}

func (l *line) deadlineChanged() {}

func (l *line) blocks() bool { return false }

func (l *line) sendLater() bool { return l.sends != nil && l.sends.add(lineSender{l.c}) }

// lineSender is a line as its poller's queue has it.
type lineSender struct{ *connection }

func (s lineSender) beginSend() (fd int, p []byte, ok bool) { return 0, nil, false }
func (s lineSender) endSend(int32)                          {}

func (l *line) closeWrite() (ended bool, err error) {
	interleave.Step("close write", l)
	l.alive("close write")
	l.shut = true
	return true, nil
}

func (l *line) canCloseWrite() bool { return true }

func (l *line) abort() {}

func (l *line) release(keep bool) error {
	interleave.Step("release", l)
	l.stopped = true
	l.released++
	l.kept = keep
	if l.sending || l.receives {
		l.r.Failf("released under somebody who uses it")
	}
	return nil
}

func (l *line) holdInput(int64) error             { return nil }
func (l *line) letInput()                         {}
func (l *line) explain(errno syscall.Errno) error { return errno }

// connClosed implements connOwner.
func (l *line) connClosed(*connection) {}

// draining implements connOwner.
func (l *line) adopt(*connection) {}

func (l *line) drainBegun() <-chan struct{} { return nil }

func (l *line) draining() bool {
	interleave.Step("draining?", l)
	return l.ending
}

// plainCalls are executors that are switched off.
func plainCalls() *executors {
	return &executors{
		ring: newExecutorPolicy(ioUring, "off", nil),
		aio:  newExecutorPolicy(linuxAIO, "off", nil),
	}
}
