//go:build linux && !netconn

package netpoll

// The two directions of a simulated connection, as its user sees them: what is read and written by which method, which
// errors there may be, and what each of them means.

import (
	"errors"
	"io"
	"syscall"
	"time"
)

// simReader is the reader: a goroutine or the handler.
type simReader struct {
	l     *simLife
	pos   int64 // bytes taken so far
	shown []simShown
	ended error // why nothing more will come
	waits int   // calls in a row that waited in vain
	steps int   // beside the program
}

// simShown is a slice that has to stay as it is until Release.
type simShown struct {
	p   []byte
	pos int64
}

var readerActs = []simAct[*simReader]{
	{"next", 6, func(r *simReader, arg int) {
		n := r.want(arg)
		have := r.l.conn.Reader().Len()
		p, err := r.l.conn.Reader().Next(n)
		if r.ok("Next", n, have, err) {
			r.show(p, n)
			r.pos += int64(n)
		}
	}},
	{"peek", 3, func(r *simReader, arg int) {
		n := r.want(arg)
		have := r.l.conn.Reader().Len()
		p, err := r.l.conn.Reader().Peek(n)
		if r.ok("Peek", n, have, err) {
			r.show(p, n)
		}
	}},
	{"skip", 2, func(r *simReader, arg int) {
		n := r.want(arg)
		have := r.l.conn.Reader().Len()
		if r.ok("Skip", n, have, r.l.conn.Reader().Skip(n)) {
			r.pos += int64(n)
		}
	}},
	{"binary", 2, func(r *simReader, arg int) {
		n := r.want(arg)
		have := r.l.conn.Reader().Len()
		p, err := r.l.conn.Reader().ReadBinary(n)
		if r.ok("ReadBinary", n, have, err) {
			r.take(p, n)
		}
	}},
	{"string", 1, func(r *simReader, arg int) {
		n := r.want(arg)
		have := r.l.conn.Reader().Len()
		s, err := r.l.conn.Reader().ReadString(n)
		if r.ok("ReadString", n, have, err) {
			r.take([]byte(s), n)
		}
	}},
	{"byte", 2, func(r *simReader, _ int) {
		have := r.l.conn.Reader().Len()
		b, err := r.l.conn.Reader().ReadByte()
		if r.ok("ReadByte", 1, have, err) {
			r.take([]byte{b}, 1)
		}
	}},
	{"own-byte", 1, func(r *simReader, _ int) {
		have := r.l.conn.Reader().Len()
		b, err := r.l.conn.(io.ByteReader).ReadByte()
		if r.ok("ReadByte of a net.Conn", 1, have, err) {
			r.take([]byte{b}, 1)
			r.shown = nil // as with Slice
		}
	}},
	{"slice", 2, func(r *simReader, arg int) {
		n := r.want(arg)
		have := r.l.conn.Reader().Len()
		part, err := r.l.conn.Reader().Slice(n)
		if !r.ok("Slice", n, have, err) {
			return
		}
		p, err := part.Next(n)
		if err != nil {
			r.l.fail("Next of a Slice: %v", err)
		}
		r.take(p, n)
		r.shown = nil // slices from before end with the next Slice
		if err := part.Release(); err != nil {
			r.l.fail("Release of a Slice: %v", err)
		}
	}},
	{"until", 1, func(r *simReader, arg int) {
		r.l.searches.Store(true)
		line, err := r.l.conn.Reader().Until(byte(arg))
		if len(line) > 0 { // with an error too
			r.show(line, len(line))
			r.pos += int64(len(line))
		}
		if err == nil && (len(line) == 0 || line[len(line)-1] != byte(arg)) {
			r.l.fail("Until returned %d bytes that do not end with the delimiter", len(line))
		}
		r.ok("Until", 1, 0, err)
	}},
	{"read", 4, func(r *simReader, arg int) {
		buf := make([]byte, simSize(arg))
		have := r.l.conn.Reader().Len()
		n, err := r.l.conn.Read(buf)
		if r.ok("Read", 1, have, err) {
			r.take(buf[:n], n)
			r.shown = nil // as with Slice
		}
	}},
	{"release", 4, func(r *simReader, _ int) { r.release() }},
	{"len", 1, func(r *simReader, _ int) {
		if n := r.l.conn.Reader().Len(); n < 0 {
			r.l.fail("Len is %d", n)
		}
	}},
}

// want is how much to ask for: mostly what is there.
func (r *simReader) want(arg int) int {
	n := simSize(arg >> 4)
	if arg&15 < 13 {
		n = min(n, max(r.l.conn.Reader().Len(), 1))
	}
	if int64(n) > r.l.asked.Load() {
		r.l.asked.Store(int64(n))
	}
	return n
}

// ok sorts the errors of a call that asked for n bytes when have were buffered.
func (r *simReader) ok(what string, n, have int, err error) bool {
	asNetConn := what == "Read" || what == "ReadByte of a net.Conn"
	switch {
	case err == nil:
		r.waits = 0
		return true
	case have >= n && !(asNetConn && errors.Is(err, ErrReadTimeout)): // those of a net.Conn check their deadline first
		r.l.fail("%s(%d) with %d bytes buffered: %v", what, n, have, err)
	case errors.Is(err, ErrReadTimeout):
		if !r.l.timed.Load() {
			r.l.fail("%s(%d): %v, and no timeout was set", what, n, err)
		}
		r.waits++
		return false
	case asNetConn && err == io.EOF, !asNetConn && errors.Is(err, ErrEOF):
		r.l.sawEOF = true
	case r.l.mayBreak(err):
	case errors.Is(err, ErrConnClosed):
		if r.l.c.life.load().phase() < phaseClosing {
			r.l.fail("%s(%d) of a connection that is %v: %v", what, n, r.l.c.life.load(), err)
		}
	default:
		r.l.fail("%s(%d): %v", what, n, err)
	}
	r.ended = err
	return false
}

// show checks p and notes it for Release.
func (r *simReader) show(p []byte, n int) {
	if len(p) != n || cap(p) != n {
		r.l.fail("%d bytes wanted, got length %d and capacity %d", n, len(p), cap(p))
	}
	r.check(p, r.pos)
	if len(r.shown) < 8 {
		r.shown = append(r.shown, simShown{p, r.pos})
	}
}

func (r *simReader) take(p []byte, n int) {
	if len(p) != n {
		r.l.fail("%d bytes wanted, got %d", n, len(p))
	}
	r.check(p, r.pos)
	r.pos += int64(n)
}

func (r *simReader) check(p []byte, pos int64) {
	if at := r.l.in.Differs(pos, p); at >= 0 {
		r.l.fail("input differs at %d", at)
	}
}

func (r *simReader) release() {
	for _, s := range r.shown {
		if at := r.l.in.Differs(s.pos, s.p); at >= 0 {
			r.l.fail("a slice from %d on changed at %d before Release", s.pos, at)
		}
	}
	r.shown = nil
	if err := r.l.conn.Reader().Release(); err != nil {
		r.l.fail("Release: %v", err)
	}
}

// finish reads all that comes until the end.
func (r *simReader) finish() {
	for r.ended == nil {
		r.steps++
		n := max(r.l.conn.Reader().Len(), 1)
		p, err := r.l.conn.Reader().Next(n)
		if r.ok("Next", n, 0, err) {
			r.take(p, n)
			r.release()
		} else if r.ended == nil {
			<-r.l.quiet
			_ = r.l.conn.SetReadTimeout(0) // and the deadline goes with it
		}
	}
}

// leftover reads the input that is still buffered in a closed connection.
func (r *simReader) leftover() {
	defer func() { _ = r.l.conn.Reader().Release() }()
	n := r.l.conn.Reader().Len()
	p, err := r.l.conn.Reader().Next(n)
	if err != nil {
		r.l.fail("Next of the %d bytes that were left at the end: %v", n, err)
		return
	}
	r.take(p, n)
}

const (
	// maxOutput limits the output of one user.
	maxOutput = 256 << 10
	// maxWaits is how often in a row an actor waits in vain before it gives its program up.
	maxWaits = 6
)

// simWriter is the writer.
type simWriter struct {
	l       *simLife
	pos     int64 // bytes written so far
	flushed int64 // of which so many are promised to arrive
	broken  error // why nothing more can be written
	waits   int   // calls in a row that waited in vain
	steps   int   // beside the program
}

var writerActs = []simAct[*simWriter]{
	{"malloc", 4, func(w *simWriter, arg int) {
		n := simSize(arg)
		p, err := w.l.conn.Writer().Malloc(n)
		copy(p, w.next(n))
		w.wrote("Malloc", n, err)
	}},
	{"ack", 2, func(w *simWriter, arg int) {
		n, more := simSize(arg), arg>>16%500
		p, err := w.l.conn.Writer().Malloc(n + more)
		copy(p, w.next(n))
		if err == nil {
			err = w.l.conn.Writer().MallocAck(w.l.conn.Writer().MallocLen() - more)
		}
		w.wrote("MallocAck", n, err)
	}},
	{"binary", 4, func(w *simWriter, arg int) {
		n := simSize(arg)
		_, err := w.l.conn.Writer().WriteBinary(w.next(n))
		w.wrote("WriteBinary", n, err)
	}},
	{"string", 2, func(w *simWriter, arg int) {
		n := simSize(arg)
		_, err := w.l.conn.Writer().WriteString(string(w.next(n)))
		w.wrote("WriteString", n, err)
	}},
	{"byte", 2, func(w *simWriter, _ int) {
		w.wrote("WriteByte", 1, w.l.conn.Writer().WriteByte(w.next(1)[0]))
	}},
	{"direct", 3, func(w *simWriter, arg int) {
		n, middle, rest := simSize(arg)%5000, 1+arg>>8%3000, arg>>12%2000
		all := w.next(n + middle + rest)
		p, err := w.l.conn.Writer().Malloc(n + rest)
		if err == nil && n+rest > 0 {
			copy(p, all[:n])
			copy(p[n:], all[n+middle:])
		}
		if err == nil {
			err = w.l.conn.Writer().WriteDirect(all[n:n+middle], rest)
		}
		w.wrote("WriteDirect", len(all), err)
	}},
	{"append", 2, func(w *simWriter, arg int) {
		n := simSize(arg)
		p, src := w.next(n), NewLinkBuffer()
		_, _ = src.WriteBinary(p[:n/2])
		if arg>>20&1 == 0 {
			_ = src.Flush()
		}
		_, _ = src.WriteBinary(p[n/2:])
		err := w.l.conn.Writer().Append(src)
		_ = src.Close()
		w.wrote("Append", n, err)
	}},
	{"flush", 6, func(w *simWriter, _ int) { w.flush() }},
	{"write", 4, func(w *simWriter, arg int) {
		p := w.next(simSize(arg))
		n, err := w.l.conn.Write(p)
		w.sent("Write", n, len(p), err)
	}},
	{"own-string", 2, func(w *simWriter, arg int) {
		p := w.next(simSize(arg))
		n, err := w.l.conn.(io.StringWriter).WriteString(string(p))
		w.sent("WriteString of a net.Conn", n, len(p), err)
	}},
	{"own-byte", 1, func(w *simWriter, _ int) {
		if w.l.plan.tls != 0 { // after a timeout WriteByte cannot say whether the byte is encrypted
			n, err := w.l.conn.Write(w.next(1))
			w.sent("Write of a byte", n, 1, err)
			return
		}
		n := 1
		err := w.l.conn.(io.ByteWriter).WriteByte(w.next(1)[0])
		if err != nil {
			n = 0
		}
		w.sent("WriteByte of a net.Conn", n, 1, err)
	}},
}

// sent notes the result of a call that sent n of want bytes by itself.
func (w *simWriter) sent(what string, n, want int, err error) {
	w.pos += int64(n)
	switch {
	case w.failed(what, err):
	case n != want && err == nil:
		w.l.fail("%s of %d bytes returned %d, nil", what, want, n)
	case err == nil:
		w.flushed = w.pos
	}
}

// next returns the bytes to write next.
func (w *simWriter) next(n int) []byte { return w.l.out.Piece(w.pos, n) }

func (w *simWriter) wrote(what string, n int, err error) {
	if !w.failed(what, err) && err == nil {
		w.pos += int64(n)
	}
}

// failed reports whether err is the last one.
func (w *simWriter) failed(what string, err error) bool {
	switch {
	case err == nil:
		return false
	case errors.Is(err, ErrWriteTimeout):
		if !w.l.timed.Load() {
			w.l.fail("%s: %v, and no timeout was set", what, err)
		}
		w.waits++
		return false
	case w.l.mayBreak(err):
	case errors.Is(err, ErrConnClosed):
		if w.l.c.life.load().phase() < phaseClosing {
			w.l.fail("%s on a connection that is %v: %v", what, w.l.c.life.load(), err)
		}
	default:
		w.l.fail("%s: %v", what, err)
	}
	w.broken = err
	return true
}

func (w *simWriter) flush() {
	err := w.l.conn.Writer().Flush()
	if !w.failed("Flush", err) && err == nil {
		w.flushed, w.waits = w.pos, 0
	}
}

// stop holds when there is nothing more to write.
func (w *simWriter) stop() bool { return w.broken != nil || w.pos > maxOutput || w.waits > maxWaits }

// finish flushes written output, for as long as that takes.
func (w *simWriter) finish() {
	for w.broken == nil && w.flushed < w.pos {
		w.steps++
		if w.flush(); w.broken == nil && w.flushed < w.pos {
			<-w.l.quiet
			_ = w.l.conn.SetWriteTimeout(0) // and the deadline goes with it
		}
	}
}

// mayBreak reports whether err can come of what the peer has done, or of an injected fault.
func (l *simLife) mayBreak(err error) bool {
	if l.plan.tls != 0 && l.sessionMayBreak(err) {
		return true
	}
	if l.w.faulty {
		var no syscall.Errno
		return errors.As(err, &no)
	}
	switch {
	case errors.Is(err, syscall.ECONNRESET):
		return l.peer.abrupt.Load()
	case errors.Is(err, syscall.EPIPE):
		return l.peer.abrupt.Load() || l.shutWrite.Load()
	}
	return false
}

// simControl is the one who does all that may be done at any time.
type simControl struct{ l *simLife }

var controlActs = []simAct[*simControl]{
	{"read-deadline", 2, func(k *simControl, arg int) {
		k.l.timed.Store(true)
		_ = k.l.conn.SetReadDeadline(simTime(arg))
	}},
	{"write-deadline", 2, func(k *simControl, arg int) {
		k.l.timed.Store(true)
		_ = k.l.conn.SetWriteDeadline(simTime(arg))
	}},
	{"deadline", 1, func(k *simControl, arg int) {
		k.l.timed.Store(true)
		_ = k.l.conn.SetDeadline(simTime(arg))
	}},
	{"read-timeout", 2, func(k *simControl, arg int) {
		k.l.timed.Store(true)
		_ = k.l.conn.SetReadTimeout(time.Duration(arg%3000) * time.Microsecond)
	}},
	{"write-timeout", 1, func(k *simControl, arg int) {
		k.l.timed.Store(true)
		k.l.forgets.Store(true) // a close gives up on a peer that takes nothing for so long
		_ = k.l.conn.SetWriteTimeout(time.Duration(arg%3000) * time.Microsecond)
	}},
	{"limit", 1, func(k *simControl, arg int) {
		n := 200 + simSize(arg)
		k.l.limit.Store(max(k.l.limit.Load(), int64(n)))
		_ = k.l.c.SetReadLimit(n)
	}},
	{"close-callback", 3, func(k *simControl, _ int) { k.l.addCallback() }},
	{"on-disconnect", 1, func(k *simControl, _ int) { _ = k.l.c.SetOnDisconnect(k.l.onDisconnect) }},
	{"on-request", 1, func(k *simControl, _ int) {
		if k.l.handled.Load() {
			k.l.setHandler()
		}
	}},
	{"ask", 3, func(k *simControl, _ int) {
		// The other way round it might end between the two questions.
		if k.l.released() && k.l.conn.IsActive() {
			k.l.fail("IsActive after the end")
		}
		_, _ = k.l.conn.LocalAddr(), k.l.conn.RemoteAddr()
		_ = k.l.c.Context()
		k.l.checkBound()
	}},
	{"keepalive", 1, func(k *simControl, arg int) {
		_ = k.l.conn.SetIdleTimeout(time.Duration(arg%5) * time.Second) // fails when it is closed
	}},
	{"pause", 3, func(_ *simControl, arg int) { simPause(arg) }},
}

// simTime is a deadline: past, soon, or none.
func simTime(arg int) time.Time {
	switch arg & 3 {
	case 0:
		return time.Now().Add(-time.Second)
	case 1:
		return time.Time{}
	}
	return time.Now().Add(time.Duration(arg>>2%2000) * time.Microsecond)
}

// simPause lets others go first, for up to a tenth of a millisecond.
func simPause(arg int) { <-time.After(time.Duration(arg%100) * time.Microsecond) }
