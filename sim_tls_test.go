//go:build linux && !netconn

package netpoll

// Simulated connections with TLS. The peer is a tls.Conn over its socket. It never waits where a plain peer does not, so
// it keeps the ciphertext that the socket does not take, and counts as sent what is in records that the socket has taken
// whole. All promises are those of plain connections; the end of a stream is close_notify.

import (
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// drawTLS decides whether a connection has TLS. It cannot be detached then.
func (p *simPlan) drawTLS(r *rand.Rand) {
	version := [...]uint16{0, 0, tls.VersionTLS12, tls.VersionTLS13}[r.IntN(4)]
	if version == 0 || p.carrier == pairOfSockets {
		return
	}
	p.tls = version
	if p.end == endDetach {
		p.end = endUserClose
	}
}

// beyondLimit is how far the input of a session may go beyond a limit: what waited for the handshake, the records of
// one receive, and the rest of a record.
func (p *simPlan) beyondLimit() int64 {
	if p.tls == 0 {
		return 0
	}
	return maxUnopened + leastReceive + maxPlaintext
}

// sessionMayBreak reports whether err can come of a peer that cuts the stream, or of an injected fault.
func (l *simLife) sessionMayBreak(err error) bool {
	return l.w.faulty || errors.Is(err, io.ErrUnexpectedEOF) && l.peer.abrupt.Load()
}

// handshakeBoth is the handshake of a connection that was dialed.
func (l *simLife) handshakeBoth() {
	if l.plan.tls == 0 {
		return
	}
	var here sync.WaitGroup
	_ = l.peer.conn.SetDeadline(time.Now().Add(simPatience))
	here.Go(func() {
		err := l.conn.(*TLSConnection).Handshake()
		if err == nil {
			return
		}
		_ = l.peer.conn.SetDeadline(time.Now())
		if !l.w.faulty {
			l.fail("handshake: %v", err)
		}
	})
	l.peer.handshake()
	here.Wait()
	_ = l.peer.conn.SetDeadline(time.Time{})
}

// handshake begins the session of a peer that has one.
func (p *simPeer) handshake() {
	if p.l.plan.tls == 0 {
		return
	}
	config := testTLSConfig().Clone()
	config.MinVersion, config.MaxVersion = p.l.plan.tls, p.l.plan.tls
	config.DynamicRecordSizingDisabled = true // so that the size of each record is known
	s := &simSession{p: p, wire: &simWire{Conn: p.conn, p: p, waits: true}}
	if s.conn = tls.Client(s.wire, config); !p.l.plan.carrier.served() {
		s.conn = tls.Server(s.wire, config)
	}
	p.tls = s
	if err := s.conn.Handshake(); err != nil {
		p.broken = err
		if !p.l.endsHere() && p.l.plan.carrier.served() {
			p.l.fail("handshake of the peer: %v; %v", err, p.l.c.life.load())
		}
	}
	s.wire.waits = false
}

// simSession is TLS of a peer.
type simSession struct {
	p       *simPeer
	conn    *tls.Conn
	wire    *simWire
	written int64     // plaintext that conn has encrypted
	records []simMark // those that the socket has not taken whole
}

// simMark is the end of a record: in the ciphertext, and in the plaintext.
type simMark struct{ cipher, plain int64 }

// send sends n bytes, unless the socket has not taken earlier ones.
func (s *simSession) send(n int) {
	for n > 0 && s.p.broken == nil && s.settle() {
		k := min(n, maxPlaintext)
		_, _ = s.conn.Write(s.p.l.in.Piece(s.written, k))
		n, s.written = n-k, s.written+int64(k)
		s.records = append(s.records, simMark{s.wire.total, s.written})
	}
	s.settle()
}

// settle gives ciphertext to the socket, notes what has been sent, and reports whether that is everything.
func (s *simSession) settle() bool {
	s.wire.flush()
	s.note()
	return len(s.wire.out) == 0
}

func (s *simSession) note() {
	for len(s.records) > 0 && s.records[0].cipher <= s.wire.total-int64(len(s.wire.out)) {
		s.p.sent = s.records[0].plain
		s.records = s.records[1:]
	}
}

// receive takes up to n bytes that are there, and reports whether there may be more.
func (s *simSession) receive(n int) (more bool) {
	p := s.p
	if p.broken != nil || p.eof {
		return false
	}
	s.settle()
	m, err := s.conn.Read(p.buf[:n])
	p.took(m, err == io.EOF && !s.wire.ended)
	switch {
	case err == nil:
		return true
	case p.eof, err == error(errOpenLater):
	case s.wire.errno != 0:
		p.failed("receive", s.wire.errno)
	case s.wire.ended:
		p.broken = err
		if !p.l.endsHere() {
			p.l.fail("the stream of the peer is cut: %v, although nothing has been closed here: %v", err, p.l.c.life.load())
		}
	default:
		p.broken = err
		p.l.fail("the session of the peer: %v; %v", err, p.l.c.life.load())
	}
	return false
}

// drain receives until the end, and sends what it has encrypted.
func (s *simSession) drain() {
	p := s.p
	s.wire.waits = true
	var sending sync.WaitGroup
	sending.Go(s.wire.flushAll)
	_ = p.conn.SetReadDeadline(time.Now().Add(simPatience))
	for p.broken == nil && !p.eof {
		p.steps++
		s.readOn()
	}
	if p.broken != nil {
		_ = p.conn.SetWriteDeadline(time.Now())
	}
	sending.Wait()
	s.note()
	p.fin = p.fin && len(s.wire.out) == 0
}

// readOn is receive, where it waits.
func (s *simSession) readOn() {
	p := s.p
	m, err := s.conn.Read(p.buf)
	p.took(m, err == io.EOF && !s.wire.ended)
	switch {
	case err == nil, p.eof:
	case s.wire.errno != 0:
		p.failed("receive", s.wire.errno)
	case s.wire.ended && p.l.endsHere():
		p.broken = err
	default:
		p.broken = err
		p.l.fail("the peer has waited for the end of the session in vain: %v; %v", err, p.l.c.life.load())
	}
}

// simWire is the socket of a peer as its session has it.
type simWire struct {
	net.Conn
	p     *simPeer
	waits bool          // Read waits
	out   []byte        // ciphertext that the socket has not taken
	total int64         // ciphertext so far, from the end of the handshake on
	ended bool          // the stream below has ended
	errno syscall.Errno // of a receive
}

func (w *simWire) Read(buf []byte) (n int, err error) {
	if w.waits {
		n, err = w.Conn.Read(buf)
	} else {
		n, err = w.receive(buf)
	}
	w.ended = err == io.EOF
	w.errno = asErrno(err)
	return n, err
}

// receive takes what is there.
func (w *simWire) receive(buf []byte) (n int, err error) {
	_ = w.p.raw.Read(func(fd uintptr) bool {
		n, _, err = unix.Recvfrom(int(fd), buf, unix.MSG_DONTWAIT)
		return true
	})
	switch {
	case err == unix.EAGAIN, err == unix.EINTR:
		return 0, errOpenLater
	case err != nil:
		return 0, &net.OpError{Op: "read", Err: err}
	case n == 0 && len(buf) > 0:
		return 0, io.EOF
	}
	return n, nil
}

// Write never waits after the handshake.
func (w *simWire) Write(b []byte) (n int, err error) {
	if w.waits {
		return w.Conn.Write(b)
	}
	w.out = append(w.out, b...)
	w.total += int64(len(b))
	return len(b), nil
}

// flush gives the socket what it takes.
func (w *simWire) flush() {
	for len(w.out) > 0 && w.p.broken == nil {
		n, err := 0, error(nil)
		_ = w.p.raw.Write(func(fd uintptr) bool {
			n, err = unix.SendmsgN(int(fd), w.out, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
			return true
		})
		if err == nil {
			w.out = w.out[n:]
		}
		w.p.failed("send", err)
		if err != nil {
			return
		}
	}
}

// flushAll waits until the socket has taken everything.
func (w *simWire) flushAll() {
	n, _ := w.Conn.Write(w.out) // if it fails, so does the receiving
	w.out = w.out[n:]
}

// SetWriteDeadline does nothing: CloseWrite of a tls.Conn lets no later Write succeed.
func (w *simWire) SetWriteDeadline(time.Time) error { return nil }
