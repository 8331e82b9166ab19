package netpoll

// This file holds the sending side of TLS: the sealing of output, and the sending of ciphertext.

import (
	"syscall"

	"github.com/cloudwego/netpoll/internal/errno"
	"github.com/cloudwego/netpoll/internal/interleave/clock"
)

const (
	// maxSealed is how much plaintext is sealed before ciphertext is sent.
	maxSealed = 128 << 10
	// maxPlaintext is the most plaintext in one record.
	maxPlaintext = 16 << 10
	// closeGrace is how long a net.Conn may take for the last output, in nanoseconds, as in crypto/tls.
	closeGrace = 5e9
)

// send implements transport: it seals bytes of v and sends the ciphertext. What was sealed is taken, whether it is sent
// or not; the rest follows with the next call, also if that has an empty v.
func (t *tlsTransport) send(v *vector, start int64) (n int, err error) {
	if start == 0 && t.below.blocks() {
		start = clock.Now()
	}
	if t.sendErr != nil || t.dead.Load() {
		return 0, t.brokenBy()
	}
	if err := t.sendSealed(start); err != nil {
		return 0, err
	}
	if v.Total() == 0 && !t.endDue() {
		return 0, nil
	}
	switch t.phaseNow() {
	case tlsFresh, tlsHandshaking:
		t.use()
		return 0, errWouldBlock
	case tlsFailed:
		return 0, t.failureNow()
	}
	total := v.Total()
	if n, err = t.seal(v); n == 0 && err != nil {
		return 0, err
	}
	if n == total {
		t.sealEnd()
	}
	if err := t.sendSealed(start); err != nil && n == 0 {
		return 0, err
	}
	return n, nil // the next call gets the error, if it stays
}

// passing reports whether err ends one call, and not the connection.
func passing(err error) bool { return err == errWouldBlock || err == error(ErrWriteTimeout) }

// failureNow is the error of a send after the handshake has failed.
func (t *tlsTransport) failureNow() error {
	if err := t.failure.Load(); err != nil {
		return err
	}
	return ErrConnClosed
}

// brokenBy is the error of a send when nothing can be sent any more.
func (t *tlsTransport) brokenBy() error {
	if t.sendErr != nil {
		return t.sendErr
	}
	return syscall.EPIPE
}

// seal has conn encrypt bytes of v. Small pieces are joined, so that they do not become small records.
func (t *tlsTransport) seal(v *vector) (n int, err error) {
	if v.Total() == 0 {
		return 0, nil
	}
	defer t.sealing.Store(0)
	var joined *node
	pieces := v.Bufs[:v.N]
	for err == nil && len(pieces) > 0 && n < maxSealed {
		p := pieces[0]
		taken := 0
		if len(p) >= maxPlaintext || len(pieces) == 1 {
			p = p[:min(len(p), maxSealed-n)]
		} else {
			if joined == nil {
				joined = newBlock(maxPlaintext)
				defer joined.free()
			}
			p = joined.buf[:join(joined.buf[:maxPlaintext], pieces)]
		}
		t.sealing.Store(int64(len(p)))
		taken, err = t.write(p)
		n += taken
		pieces = skipPieces(pieces, taken)
	}
	t.userEnd = t.out.received()
	return n, err
}

// write is Write of conn, whose errors are not those of a socket.
func (t *tlsTransport) write(p []byte) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	if n, err = t.conn.Write(p); err != nil {
		err = &connError{err}
		t.failure.CompareAndSwap(nil, err.(*connError))
	}
	return n, err
}

// join copies the beginning of pieces to p.
func join(p []byte, pieces [][]byte) (n int) {
	for _, piece := range pieces {
		n += copy(p[n:], piece)
	}
	return n
}

// skipPieces returns pieces without their first n bytes.
func skipPieces(pieces [][]byte, n int) [][]byte {
	for len(pieces) > 0 && n >= len(pieces[0]) {
		n -= len(pieces[0])
		pieces = pieces[1:]
	}
	if n > 0 {
		pieces[0] = pieces[0][n:]
	}
	return pieces
}

// endDue reports whether close_notify has yet to be sealed.
func (t *tlsTransport) endDue() bool { return t.endWanted.Load() && !t.endSealed.Load() }

// sealEnd seals close_notify if it is due.
func (t *tlsTransport) sealEnd() {
	if t.endDue() && !t.dead.Load() {
		_ = t.conn.CloseWrite() // an error is one that was returned before
		t.endSealed.Store(true)
	}
}

// sendSealed sends ciphertext until there is none, or returns why it cannot.
func (t *tlsTransport) sendSealed(start int64) error {
	if t.out.Len() == 0 {
		return nil
	}
	v := getVector()
	defer putVector(v)
	for t.out.Len() > 0 {
		fillVector(v, &t.out, nil)
		n, err := t.below.send(v, start)
		if err != nil {
			return t.sendFailed(err)
		}
		t.sealedSent(n)
	}
	return nil
}

// sealedSent forgets n bytes of ciphertext that were sent.
func (t *tlsTransport) sealedSent(n int) {
	_ = t.out.Skip(n)
	_ = t.out.Release()
	if t.out.Len() == 0 && t.own.Load() > 0 {
		t.own.Store(0)
		t.resumeStalled()
	}
}

// resumeStalled undoes stallIfFlooded.
func (t *tlsTransport) resumeStalled() {
	if t.flooded.CompareAndSwap(true, false) {
		_ = t.below.updateInterest()
	}
}

// sendFailed returns the error of a send. If no output of the user is lost by it there is none: the next call that sends or
// receives gets it.
func (t *tlsTransport) sendFailed(err error) error {
	if passing(err) {
		return err
	}
	no := asErrno(err)
	usersLost := int64(t.userEnd-t.out.consumed()) > 0
	if usersLost && no != 0 && !errno.EndsConnection(no) {
		return err // what is sealed is sent when that is possible again
	}
	t.up.sendLost(no)
	if t.sendErr == nil {
		t.sendErr = err
	}
	if usersLost {
		return err
	}
	if !t.is(tlsOpen) {
		t.cancelWith(err) // a handshake would wait for the answer to what is lost
	} else {
		_, _ = t.below.closeWrite() // and so would the peer
	}
	t.dropHeld()
	return nil
}

// holds implements layer.
func (t *tlsTransport) holds() bool {
	return !t.dead.Load() && (t.out.Len() > 0 || t.endDue() && t.is(tlsOpen))
}

// dropHeld implements layer.
func (t *tlsTransport) dropHeld() {
	t.dead.Store(true)
	t.cut = t.cut || t.out.Len() > 0
	t.sealedSent(t.out.Len())
}

// progress implements layer.
func (t *tlsTransport) progress() uint64 { return t.out.consumed() }

// sendUntil implements output. After Close a net.Conn has a limited time.
func (t *tlsTransport) sendUntil(start int64) int64 {
	until := t.up.sendUntil(start)
	if at := t.closedAt.Load(); at != 0 {
		until = min(until, at+closeGrace)
	}
	return until
}

// sendLater implements transport.
func (t *tlsTransport) sendLater() bool {
	return t.is(tlsOpen) && !t.forGood && t.below.sendLater()
}

// addPending implements output.
func (t *tlsTransport) addPending() bool { return t.up.addPending() }

// sendPending implements output.
func (t *tlsTransport) sendPending() { t.up.sendPending() }

// beginPending implements output: it seals pending output of the connection and returns the first piece of ciphertext.
func (t *tlsTransport) beginPending() (p []byte, ok bool) {
	if p, ok = t.up.beginPending(); !ok {
		return nil, false
	}
	var err error
	t.batched = 0
	if t.sendErr != nil || t.dead.Load() {
		err = t.brokenBy()
	} else if len(p) > 0 && t.is(tlsOpen) {
		t.sealing.Store(int64(len(p)))
		t.batched, err = t.write(p)
		t.sealing.Store(0)
		t.userEnd = t.out.received()
	} else if t.is(tlsOpen) {
		t.sealEnd()
	}
	if err != nil || t.out.Len() == 0 {
		t.up.endPending(t.batched, err)
		return nil, false
	}
	var list [1][]byte
	return t.out.GetBytes(list[:])[0], true
}

// endPending implements output.
func (t *tlsTransport) endPending(n int, err error) {
	if n > 0 {
		t.sealedSent(n)
	}
	switch {
	case err == errInDoubt: // the kernel may still read from the block
		t.out.leakHead()
		t.up.endPending(0, syscall.EIO)
		return
	case t.batched > 0 && (err == errWouldBlock || err == errNotExecuted):
		err = nil // the plaintext is sealed; the connection tries to send the ciphertext
	case err != nil && err != errNotExecuted:
		err = t.sendFailed(err) // if what is sealed is taken, the next send has the error
	}
	t.up.endPending(t.batched, err)
}
