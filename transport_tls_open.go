package netpoll

// This file holds the receiving side of TLS: the layer as the upper layer of the transport below, and the opening of
// records.

import (
	"io"

	"github.com/cloudwego/netpoll/internal/interleave/atomic"
	"github.com/cloudwego/netpoll/internal/tlsrecord"
	"github.com/cloudwego/netpoll/internal/wait"
)

// openerRole says whether there is an opener, and whether ciphertext has arrived that it may not have seen. Before the
// session is open it is taken, by the handshake that will come.
//
//	free ── take, notify ──▶ taken ── notify ──▶ notified
//	  ◀────── release ────────┘ ◀──── release ──────┘ (and the opener looks again)
type openerRole struct{ v atomic.Uint32 }

const (
	openerFree uint32 = iota
	openerTaken
	openerNotified
)

func (r *openerRole) init() { r.v.Store(openerTaken) }

// take makes the caller the opener. It returns false if there is one.
func (r *openerRole) take() bool { return r.v.CompareAndSwap(openerFree, openerTaken) }

func (r *openerRole) taken() bool { return r.v.Load() != openerFree }

// notify makes the opener look again, or, if there is none, makes the caller the opener and returns true. The caller has
// put ciphertext into in, or noted its end, before.
func (r *openerRole) notify() (took bool) {
	for {
		old := r.v.Load()
		next := openerNotified
		if old == openerFree {
			next = openerTaken
		}
		if r.v.CompareAndSwap(old, next) {
			return old == openerFree
		}
	}
}

// release gives the role up. It returns false if the opener has to look again, and still is the opener.
func (r *openerRole) release() bool {
	if r.v.CompareAndSwap(openerTaken, openerFree) {
		return true
	}
	r.v.Store(openerTaken) // only notify moves a role that is taken, and only to notified
	return false
}

// interest implements input.
func (t *tlsTransport) interest() pollEvent {
	ev := t.up.interest()
	if !t.is(tlsOpen) && t.out.Len() == 0 {
		ev &^= evWrite // a Flush waits for the handshake, not for room
	}
	switch {
	case t.inEnded.Load():
		ev &^= evRead | evHup
	case t.inPaused.Load() || t.flooded.Load():
		ev &^= evRead
	}
	return ev
}

// begin implements input.
func (t *tlsTransport) begin(ev pollEvent) bool {
	if !t.is(tlsOpen) && t.out.Len() == 0 {
		ev &^= evWrite
	}
	if !t.up.begin(ev) {
		return false
	}
	t.opening = t.role.take()
	return true
}

// end implements input.
func (t *tlsTransport) end() {
	t.endOpening()
	t.up.end()
}

// endOpening gives up the role of the opener, if the receiving goroutine has it.
func (t *tlsTransport) endOpening() {
	if !t.opening {
		return
	}
	t.opening = false
	for !t.role.release() {
		t.open(nil)
	}
}

// asOpener runs f if the receiving goroutine is the opener, or can be for the moment. A transport over a net.Conn calls
// wants and next outside of begin and end.
func (t *tlsTransport) asOpener(f func()) {
	if !t.opening {
		if t.opening = t.role.take(); !t.opening {
			return
		}
		defer t.endOpening()
	}
	f()
}

// wants implements input.
func (t *tlsTransport) wants(hup bool) bool {
	if t.inEnded.Load() {
		if !t.disarmed {
			t.disarmed = true
			_ = t.below.updateInterest()
		}
		return false
	}
	wanted := true
	t.asOpener(func() { wanted = t.up.wants(hup) })
	return wanted && !t.flooded.Load() && !t.pauseUnopened()
}

// pauseUnopened stops receiving if too much ciphertext waits for a handshake, or while the goroutine of the handshake opens
// what has waited. That one does not look at the limit of the upper layer, and there must be an end to it.
func (t *tlsTransport) pauseUnopened() bool {
	if t.in.Len() < maxUnopened && !t.openedElsewhere() {
		return false
	}
	t.inPaused.Store(true)
	if t.in.Len() < maxUnopened/2 && !t.openedElsewhere() && t.inPaused.CompareAndSwap(true, false) { // the opener may not have seen it
		return false
	}
	_ = t.below.updateInterest()
	return true
}

// openedElsewhere reports whether the goroutine of the handshake, which has succeeded, still is the opener. The receiving
// goroutine calls it.
func (t *tlsTransport) openedElsewhere() bool {
	return !t.opening && t.is(tlsOpen) && !t.forGood && t.role.taken()
}

// resumeUnopened undoes pauseUnopened. The opener calls it after it has taken ciphertext, and when it gives the role up.
func (t *tlsTransport) resumeUnopened() {
	if t.inPaused.Load() && t.in.Len() < maxUnopened/2 && t.inPaused.CompareAndSwap(true, false) {
		_ = t.below.updateInterest()
	}
}

// expect implements input. Ciphertext is opened record by record, so more room at once is of no use.
func (t *tlsTransport) expect(int) {}

// room implements input.
func (t *tlsTransport) room(most int) []byte {
	size, _ := t.next()
	return t.in.book(min(size, most))
}

// next implements input. The limit of the upper layer is for plaintext, so a record may go beyond it.
func (t *tlsTransport) next() (size, lacks int) {
	t.asOpener(func() { size, lacks = t.up.next() })
	return max(size, leastReceive), lacks
}

// put implements input.
func (t *tlsTransport) put(n int) { t.in.bookAck(n) }

// loseRoom implements input.
func (t *tlsTransport) loseRoom() { t.in.leakTail() }

// fed implements input.
func (t *tlsTransport) fed(n int, full, hup bool, err error, b *batch) (more bool) {
	if err != nil && !t.inEnded.Load() {
		t.inErr = err
		t.inEnded.Store(true)
	}
	if t.opening = t.opening || t.role.notify(); t.opening {
		t.up.received(n, full)
		t.open(b)
	} else {
		t.arrival.Wake()
		t.startHandshake()
	}
	return err == nil && n > 0 && (full || hup) && b.goesOn(n)
}

// open opens all whole records that have arrived, and reports the plaintext, or the end. The caller is the opener.
func (t *tlsTransport) open(b *batch) {
	for t.readErr == nil && t.openSome() {
	}
	t.report(b)
}

// report tells the upper layer of plaintext, and of the end, and sends what the opening has caused to be sent.
func (t *tlsTransport) report(b *batch) {
	if t.got > 0 {
		t.got = 0
		t.up.opened(b)
	}
	if t.own.Load() > 0 {
		t.stallIfFlooded()
		t.up.sendOwn()
	}
	if t.readErr == nil || t.over {
		return
	}
	t.over = true
	t.fail(t.readErr)
	t.up.fed(0, false, false, t.readErr, b)
}

// stallIfFlooded stops receiving if the peer causes output and does not take it.
func (t *tlsTransport) stallIfFlooded() {
	if t.own.Load() <= maxOwnOutput {
		return
	}
	t.flooded.Store(true)
	if t.out.Len() == 0 { // the sending goroutine may not have seen it
		t.resumeStalled()
		return
	}
	_ = t.below.updateInterest()
}

// openSome opens records that are in one piece, and reports whether there may be more.
func (t *tlsTransport) openSome() bool {
	ended := t.inEnded.Load()
	if !tlsrecord.Lends || t.left > 0 || tlsrecord.Left(t.conn) > 0 { // conn has the beginning of a record
		return (t.in.Len() > 0 || ended) && t.openCopied()
	}
	n, odd := t.wholeRecords()
	switch {
	case n > 0:
		t.openLent(n)
		return true
	case odd || ended:
		return t.openCopied()
	}
	return false
}

// wholeRecords returns the size of the whole records at the beginning of in that are in one piece, or of the first
// record if that one is not. odd says that the first header is one that tls.Conn refuses before it has the record.
func (t *tlsTransport) wholeRecords() (n int, odd bool) {
	have := t.in.Len()
	if have < recordHeader {
		return 0, false
	}
	var list [1][]byte
	p := t.in.GetBytes(list[:])[0]
	for n+recordHeader <= len(p) && !t.oddHeader(p[n:]) {
		size := recordSize(p[n:])
		if n+size > len(p) {
			break
		}
		n += size
	}
	if n > 0 {
		return n, false
	}
	header, _ := t.in.Peek(recordHeader)
	if t.oddHeader(header) {
		return 0, true
	}
	if size := recordSize(header); size <= have {
		return size, false
	}
	return 0, false
}

// maxRecord is the largest record of any version, without its header.
const maxRecord = 16<<10 + 2048

// oddHeader reports whether tls.Conn may refuse a record by its header alone.
func (t *tlsTransport) oddHeader(header []byte) bool {
	return header[1] != 3 || header[2] != t.version || recordSize(header) > recordHeader+maxRecord
}

// openLent makes the first n bytes of in, which are whole records, the input of conn, and decrypts them in place.
func (t *tlsTransport) openLent(n int) {
	records, err := t.in.Next(n)
	if err != nil {
		t.readErr = err // cannot be
		return
	}
	tlsrecord.Lend(t.conn, records)
	t.lent = true
	for left := n; left > 0 && t.read(left); {
		left = tlsrecord.Left(t.conn)
	}
	t.lent = false
	if tlsrecord.TakeBack(t.conn) {
		_ = t.in.Release()
	} // else conn has failed and may still point to them: they are left to the garbage collector at the end
}

// openCopied lets conn read from the wire until that has no more. It returns false.
func (t *tlsTransport) openCopied() bool {
	for t.read(min(max(t.in.Len(), minRoom), maxUnopened)) {
	}
	return false
}

// read lets conn decrypt into room for at most the given number of bytes. It returns false when conn has no more, or has
// failed.
func (t *tlsTransport) read(most int) bool {
	p := t.up.roomFor(most)
	n := 0
	var err error
	for n < len(p) && err == nil && !(t.lent && tlsrecord.Left(t.conn) == 0) {
		var k int
		k, err = t.conn.Read(p[n:]) // may return bytes and an error
		n += k
	}
	t.up.put(n)
	t.got += n
	if err != nil && err != error(errOpenLater) {
		t.readErr = err
	}
	return err == nil
}

// openForGood is the opener of a client that allows renegotiation. It reads from conn, and blocks, until the end.
func (t *tlsTransport) openForGood() {
	for t.readErr == nil && t.awaitRoom() {
		p := t.up.roomFor(leastReceive)
		n, err := t.conn.Read(p)
		t.up.put(n)
		t.got += n
		t.readErr = err
		t.report(nil)
	}
	if t.readErr == nil {
		t.readErr = io.EOF // it was closed
	}
}

// awaitRoom waits until the upper layer wants input. It returns false if that will not be.
func (t *tlsTransport) awaitRoom() bool {
	if t.up.wants(false) {
		return true
	}
	w := t.arrival.Start()
	defer t.arrival.Stop(w)
	for !t.up.wants(false) {
		if t.cancelled.Load() != nil {
			return false
		}
		w.Wait(wait.NoDeadline)
	}
	return true
}
