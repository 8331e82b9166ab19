package netpoll

// This file holds the transport over any net.Conn: how it starts, is paused, ends and is released, and its reading. Its
// sending is in transport_netconn_send.go.
//
// A goroutine reads for as long as reading is wanted: straight into the input when it expects much, and into a small
// block when it may have to wait for long. While it is blocked it does not count as inside the connection. This is safe
// because stop interrupts it and returns only when it no longer uses the input.

import (
	"errors"
	"io"
	"net"
	"os"
	"reflect"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/cloudwego/netpoll/internal/happens"
	"github.com/cloudwego/netpoll/internal/interleave/clock"
	"github.com/cloudwego/netpoll/internal/metric"
	"github.com/cloudwego/netpoll/internal/sock"
	"github.com/cloudwego/netpoll/internal/wait"
)

const (
	// idleRead is the size, in bytes, of the block that waits for the next input of a quiet connection.
	idleRead = 1 << 10
	// maxEmptyReads is how often in a row a source may return nothing.
	maxEmptyReads = 100
	// stopGrace is how long a net.Conn may take to react to a deadline before it is closed to end its Read or Write.
	stopGrace = 100 * time.Millisecond
	// endGrace is how long the end of the stream waits for a Write that may know its cause.
	endGrace = time.Second
)

// longAgo is a deadline that ends blocked calls.
var longAgo = time.Unix(1, 0)

// netConn owns its net.Conn from the moment it is made until release.
type netConn struct {
	conn net.Conn
	up   upperLayer

	// Only the reading goroutine uses these.
	ahead int   // bytes to expect at once, by how the last read went
	block *node // it reads into this while it expects no input; freed when it ends

	// mu guards the fields below. It is held while a deadline of conn is set, but never during its Read, Write or
	// Close.
	mu       sync.Mutex
	running  bool          // there is a reading goroutine
	booked   bool          // it uses the input, or will when its Read returns
	sending  bool          // a Write is going on
	sent     chan struct{} // closed when that Write has ended, if the end of the stream waits for it
	stopped  bool          // no Read or Write may begin any more
	shut     bool          // closeWrite was called
	closed   bool          // conn was closed
	leaving  *wait.Waiter  // of stop, while it waits
	held     bool          // holdInput lets no Read begin
	cut      bool          // holdInput has set a deadline to end the Read that is going on
	awaited  *wait.Waiter  // of holdInput, while it waits
	since    int64         // when the call that sends now began
	deadline int64         // the write deadline that conn has, as clock.Now counts
	moves    int           // how often deadlineChanged has changed it
	broken   error         // why nothing can be sent any more

	failure atomic.Pointer[connError] // why it ended, if no errno says it; stored by the first side that fails
}

var _ transport = (*netConn)(nil)

// init makes t carry conn for to, which may send before start. A deadline that conn had before is removed: deadlines
// belong to the connection.
func (t *netConn) init(conn net.Conn, to upperLayer) {
	t.conn, t.up = conn, to
	t.deadline = wait.NoDeadline
	_ = conn.SetDeadline(time.Time{}) // one that knows no deadlines has none
}

// reportTo makes up the upper layer, before start.
func (t *netConn) reportTo(up upperLayer) { t.up = up }

// counts is where its calls are counted.
func (t *netConn) counts() *metric.Counters { return metric.Elsewhere.For(unsafe.Pointer(t)) }

// start implements transport.
func (t *netConn) start() error { return t.updateInterest() }

// updateInterest implements transport: it starts the reading goroutine if there is none and input is wanted.
func (t *netConn) updateInterest() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.running && !t.stopped && !t.held && t.up.interest()&evRead != 0 {
		t.running = true
		go t.read()
	}
	return nil
}

// read is the reading goroutine. It ends when no more input is wanted; updateInterest then starts another one.
func (t *netConn) read() {
	for t.mayRead() {
		n, full, err := t.readOnce()
		if err == io.EOF {
			t.feed(n, full, nil) // these bytes need not wait for endOfStream
			n, full, err = 0, false, t.endOfStream()
		}
		t.feed(n, full, err)
	}
}

// feed reports n bytes that are in the input, or the end of the input.
func (t *netConn) feed(n int, full bool, err error) {
	if t.up.begin(0) {
		t.up.fed(n, full, false, err, nil)
		t.up.end()
	}
}

// mayRead lets the next read begin, or ends the reading goroutine. It calls wants, so that the upper layer pauses if it
// must. It asks for the interest under mu, so that either it sees a change of the interest, or the updateInterest that
// follows the change sees that there is no goroutine.
func (t *netConn) mayRead() bool {
	t.up.wants(false)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.booked = t.up.interest()&evRead != 0 && !t.stopped && !t.held
	t.running = t.booked
	if !t.running && t.block != nil {
		t.block.free()
		t.block = nil
	}
	return t.booked
}

// readOnce reads, and puts the bytes into the input even if stop has interrupted the Read.
func (t *netConn) readOnce() (n int, full bool, err error) {
	size, lacks := t.up.next()
	eager := lacks > idleRead
	if quiet := min(size, idleRead); eager || t.ahead > quiet {
		if !eager {
			size = min(size, t.ahead)
		}
		n, full, err = t.readWide(size)
	} else {
		n, full, err = t.readQuiet(quiet)
	}
	t.ahead = 0
	if full && !eager { // an eager read says nothing about the next one
		t.ahead = 2 * n
	}
	stopped, cut := t.settled()
	if cut && isTimeout(err) {
		err = nil
	}
	return n, full, t.readError(err, stopped)
}

// endOfStream returns the meaning of the end of the stream. A socket reports a reset only once: if it did to a Write,
// the Read finds an end that seems orderly. That Write returns at once; a Write that goes on waits for another reason.
func (t *netConn) endOfStream() error {
	if sent := t.sendGoingOn(); sent != nil {
		grace := time.NewTimer(endGrace)
		defer grace.Stop()
		select {
		case <-sent:
		case <-grace.C:
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if no := asErrno(t.broken); no != 0 && no != syscall.EPIPE { // which says nothing about the other direction
		return t.broken
	}
	return io.EOF
}

// sendGoingOn returns a channel that is closed when the Write that is going on has ended, or nil if there is none.
func (t *netConn) sendGoingOn() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sending {
		t.sent = make(chan struct{})
	}
	return t.sent
}

// readWide reads straight into the input, when much is on its way.
func (t *netConn) readWide(size int) (n int, full bool, err error) {
	p := t.up.room(size)
	n, err = t.readInto(p)
	t.up.put(n)
	return n, n == len(p), err
}

// readQuiet reads into a separate block, because the Read may wait for long and must not keep the memory of earlier
// input. The bytes are copied into the input, and the block is used again.
func (t *netConn) readQuiet(size int) (n int, full bool, err error) {
	if t.block == nil {
		t.block = newBlock(idleRead)
	}
	p := t.block.buf[:size]
	n, err = t.readInto(p)
	for rest := p[:n]; len(rest) > 0; {
		part := copy(t.up.room(len(rest)), rest)
		t.up.put(part)
		rest = rest[part:]
	}
	return n, n == len(p), err
}

// readInto reads until there are bytes or an error, and checks their number.
func (t *netConn) readInto(p []byte) (n int, err error) {
	for range maxEmptyReads {
		n, err = t.conn.Read(p)
		happens.AfterReceive()
		t.counts().Received(n)
		switch {
		case n < 0 || n > len(p):
			return 0, errors.New("netpoll: net.Conn returned an impossible number of bytes from Read")
		case n > 0 || err != nil:
			return n, err
		}
	}
	return 0, io.ErrNoProgress
}

// settled ends what mayRead has begun. It reports whether stop has been called, and whether holdInput has interrupted
// the Read, even if holdInput has given up since.
func (t *netConn) settled() (stopped, cut bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	cut, t.cut = t.cut, false
	t.finish(&t.booked)
	return t.stopped, cut
}

// finish clears flag, which stop or holdInput may be waiting for. The caller holds mu.
func (t *netConn) finish(flag *bool) {
	*flag = false
	for _, w := range [...]*wait.Waiter{t.leaving, t.awaited} {
		if w != nil {
			w.Wake()
		}
	}
}

// readError stores an error without an errno for explain, unless stop has caused it.
func (t *netConn) readError(err error, stopped bool) error {
	if err != nil && err != io.EOF && asErrno(err) == 0 && !stopped {
		t.failure.CompareAndSwap(nil, &connError{err})
	}
	return err
}

// stop implements transport. It interrupts a Read or Write that is going on, first by deadlines, and closes conn if that
// has no effect. When it returns no goroutine but a caller of send uses conn or the input.
func (t *netConn) stop(keep bool) error {
	w, err := t.beginStop()
	if w == nil {
		t.giveBack(keep)
		return nil
	}
	if err != nil {
		t.close()
	}
	for until := clock.Now() + int64(stopGrace); t.busy(keep) && clock.Now() < until; {
		w.Wait(until)
	}
	if t.busy(keep) {
		t.close()
	}
	for t.reading() {
		w.Wait(wait.NoDeadline)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.leaving = nil
	if keep && t.closed {
		return Exception(ErrUnsupported, "giving back a net.Conn that heeds no deadline")
	}
	t.giveBack(keep)
	return nil // w is not used again: a wake-up may still be on its way
}

// giveBack removes the deadlines of a conn that is to be kept. From then on conn belongs to its new owner.
func (t *netConn) giveBack(keep bool) {
	if keep {
		_ = t.conn.SetDeadline(time.Time{}) // one that knows no deadlines has none
	}
}

// beginStop returns a waiter if stop has to wait.
func (t *netConn) beginStop() (w *wait.Waiter, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stopped {
		return nil, nil
	}
	t.stopped = true
	if !t.booked && !t.sending && !t.held {
		return nil, nil
	}
	t.leaving = wait.New()
	return t.leaving, t.conn.SetDeadline(longAgo)
}

// busy reports whether stop has something to wait for. A function of RawConn.Read is interrupted too, but it has a
// reference of its own: stop waits for it only if conn is to be kept.
func (t *netConn) busy(keep bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.booked || t.sending || keep && t.held
}

func (t *netConn) reading() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.booked
}

// holdInput implements transport. It lets no Read begin, and ends the one that is going on. One call at a time.
func (t *netConn) holdInput(until int64) error {
	w, err := t.beginHold()
	if err != nil {
		return err
	}
	for patience := min(until, clock.Now()+int64(stopGrace)); t.reading() && clock.Now() < patience; {
		w.Wait(patience)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.awaited = nil // and w is not used again: a wake-up may still be on its way
	switch {
	case t.stopped:
		err = Exception(ErrConnClosed, "when read")
	case t.booked && until <= clock.Now():
		err = Exception(ErrReadTimeout, "when read")
	case t.booked:
		err = Exception(ErrUnsupported, "looking below a net.Conn that heeds no deadline")
	case until == wait.NoDeadline:
		err = t.conn.SetReadDeadline(time.Time{})
	default:
		err = t.conn.SetReadDeadline(wait.TimeOf(until))
	}
	if err != nil {
		t.endHold()
	}
	return err
}

// beginHold returns the waiter of holdInput.
func (t *netConn) beginHold() (w *wait.Waiter, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stopped {
		return nil, Exception(ErrConnClosed, "when read")
	}
	t.held = true
	w = wait.New()
	if t.booked {
		t.awaited, t.cut = w, true
		if err := t.conn.SetReadDeadline(longAgo); err != nil {
			t.awaited, t.cut = nil, false
			t.endHold()
			return nil, Exception(ErrUnsupported, "looking below a net.Conn that takes no deadline")
		}
	}
	return w, nil
}

// letInput implements transport.
func (t *netConn) letInput() {
	t.mu.Lock()
	t.endHold()
	t.mu.Unlock()
	_ = t.updateInterest()
}

// endHold ends the hold. The caller holds mu.
func (t *netConn) endHold() {
	if !t.stopped {
		_ = t.conn.SetReadDeadline(time.Time{}) // deadlines belong to the connection
	}
	t.finish(&t.held)
}

// close closes conn unless that has been done.
func (t *netConn) close() error {
	t.mu.Lock()
	closed := t.closed
	t.closed = true
	t.mu.Unlock()
	if closed {
		return nil
	}
	if tcp, ok := t.conn.(*net.TCPConn); ok {
		if raw, err := tcp.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { sock.EndLinger(int(fd)) }) // fails when it is closed
		}
	}
	return t.conn.Close()
}

// abort does nothing: net.Conn has no method for a reset.
func (t *netConn) abort() {}

// release implements transport.
func (t *netConn) release(keep bool) error {
	if keep {
		return nil
	}
	return t.close()
}

// fd implements endpoint. The descriptor of conn, if it has one, is watched by package net.
func (t *netConn) fd() int { return -1 }

func (t *netConn) netConn() net.Conn { return t.conn }

// rawConn implements endpoint: that of conn, if it has one.
func (t *netConn) rawConn() (syscall.RawConn, error) {
	s, ok := t.conn.(syscall.Conn)
	if !ok {
		return nil, Exception(ErrUnsupported, "when syscall conn")
	}
	return s.SyscallConn()
}

func (t *netConn) localAddr() net.Addr { return t.conn.LocalAddr() }

func (t *netConn) remoteAddr() net.Addr { return t.conn.RemoteAddr() }

func (t *netConn) answersAtOnce() bool { return answersAtOnce(t.conn) }

// answersAtOnce reports whether conn is known to give its addresses without waiting: one of package net is, also below
// TLS. It goes by the names of types, since package crypto/tls is large and not every program has it.
func answersAtOnce(conn net.Conn) bool {
	if _, ok := conn.(interface{ streamNetwork() string }); ok || conn == nil {
		return ok
	}
	typ := reflect.TypeOf(conn)
	if typ.Kind() != reflect.Pointer {
		return false
	}
	switch typ.Elem().PkgPath() {
	case "net":
		return true
	case "crypto/tls":
		over, ok := conn.(interface{ NetConn() net.Conn })
		return ok && answersAtOnce(over.NetConn())
	}
	return false
}

func (t *netConn) options() any { return t.conn }

// connError is an error of a net.Conn that has no errno to go by. It keeps its chain and its text.
type connError struct{ err error }

func (e *connError) Error() string { return e.err.Error() }

func (e *connError) Unwrap() error { return e.err }

// Is makes it an error that ends a connection.
func (e *connError) Is(target error) bool { return target == ErrConnClosed }

// explain implements transport: with the error of conn, where no errno says why.
func (t *netConn) explain(errno syscall.Errno) error {
	if err := t.failure.Load(); err != nil && errno == syscall.EIO {
		return err
	}
	return errno
}

// file implements endpoint. The name is the one that conn gives it.
func (t *netConn) file(string) (*os.File, error) {
	filer, ok := t.conn.(interface{ File() (*os.File, error) })
	if !ok {
		return nil, Exception(ErrUnsupported, "when file")
	}
	return filer.File()
}

// setKeepAlive implements endpoint. It does nothing where conn is not TCP.
func (t *netConn) setKeepAlive(second int) error {
	tcp, ok := t.conn.(*net.TCPConn)
	if !ok {
		return nil
	}
	d := time.Duration(second) * time.Second
	return tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: d, Interval: d, Count: -1})
}
