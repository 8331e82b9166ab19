package netpoll

// This file holds the sending of the transport over any net.Conn. Write blocks, in the goroutine that flushes; its
// deadline follows the one of the connection, also while it is blocked.

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/cloudwego/netpoll/internal/errno"
	"github.com/cloudwego/netpoll/internal/happens"
	"github.com/cloudwego/netpoll/internal/interleave/clock"
	"github.com/cloudwego/netpoll/internal/wait"
)

const (
	// maxNetWrite limits one Write, so that a long output shows progress.
	maxNetWrite = 256 << 10
	// maxJoined is up to how many bytes pieces are joined for one Write.
	maxJoined = 16 << 10
)

// send implements transport. It blocks until conn has taken everything, the deadline has passed, or stop or closeWrite
// ends it.
func (t *netConn) send(v *vector, start int64) (n int, err error) {
	if v.Total() > maxNetWrite {
		v.Limit(maxNetWrite)
	}
	moves, err := t.beginSend(start)
	if err != nil {
		return 0, err
	}
	n, err = t.write(v)
	return n, t.endSend(n, err, moves)
}

// beginSend lets a Write begin, with the deadline that holds now.
func (t *netConn) beginSend(start int64) (moves int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := t.up.sendUntil(start)
	switch {
	case t.stopped:
		return 0, ErrConnClosed
	case t.shut:
		return 0, syscall.EPIPE
	case t.broken != nil:
		return 0, t.broken
	case at != wait.NoDeadline && at <= clock.Now():
		return 0, ErrWriteTimeout
	}
	_ = t.setDeadline(at) // an error means that conn takes no deadlines
	t.since = start
	t.sending = true
	return t.moves, nil
}

// setDeadline changes the write deadline of conn if it is another one. The caller holds mu.
func (t *netConn) setDeadline(at int64) error {
	if at == t.deadline {
		return nil
	}
	var d time.Time
	if at != wait.NoDeadline {
		d = wait.TimeOf(at)
	}
	if err := t.conn.SetWriteDeadline(d); err != nil {
		return err
	}
	t.deadline = at
	return nil
}

// deadlineChanged implements transport.
func (t *netConn) deadlineChanged() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sending && !t.stopped && !t.shut {
		t.moves++
		_ = t.setDeadline(t.up.sendUntil(t.since))
	}
}

// write hands v, or its first pieces, to conn.
func (t *netConn) write(v *vector) (n int, err error) {
	happens.BeforeSend()
	want := len(v.Bufs[0])
	switch {
	case v.N == 1 || want >= maxJoined && !gathers(t.conn):
		n, err = t.conn.Write(v.Bufs[0])
	case gathers(t.conn):
		want = v.Total()
		list := v.Buffers()
		var sent int64
		sent, err = list.WriteTo(t.conn)
		*list = nil
		n = int(sent)
	default: // each Write may cost a system call, or a record of TLS, which is at most maxJoined long
		joined := newBlock(min(v.Total(), maxJoined))
		p := joined.buf[:0]
		for _, b := range v.Bufs[:v.N] {
			p = append(p, b[:min(len(b), maxJoined-len(p))]...)
		}
		want = len(p)
		n, err = t.conn.Write(p)
		joined.free()
	}
	t.counts().Sent(n)
	switch {
	case n < 0 || n > want:
		return 0, errors.New("netpoll: net.Conn returned an impossible number of bytes from Write")
	case n < want && err == nil:
		err = io.ErrShortWrite
	}
	return n, err
}

// gathers reports whether conn sends a list of slices with one system call.
func gathers(conn net.Conn) bool {
	switch conn.(type) {
	case *net.TCPConn, *net.UnixConn:
		return true
	}
	return false
}

// endSend turns err into an error of send. If some bytes were sent it returns nil: the next send finds the error. It
// also returns nil if the deadline has passed but was moved during the Write.
func (t *netConn) endSend(n int, err error, moves int) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.finish(&t.sending)
	defer t.tellSent()
	if !t.stopped && !t.shut {
		_ = t.setDeadline(wait.NoDeadline) // the deadline was for this call: a Read of TLS may have to write, too
	}
	if err == nil {
		return nil
	}
	fatal := errno.EndsConnection(asErrno(err)) // which may be ETIMEDOUT
	if fatal {
		t.broken = err
	}
	switch timeout := isTimeout(err) && !fatal; {
	case t.stopped:
		err = ErrConnClosed
	case t.shut:
		err = syscall.EPIPE
	case timeout && t.moves != moves:
		return nil
	case timeout:
		err = ErrWriteTimeout
	case errors.Is(err, io.ErrClosedPipe):
		err = syscall.EPIPE
		t.broken = err
	default:
		if asErrno(err) == 0 {
			carrier := &connError{err}
			t.failure.CompareAndSwap(nil, carrier)
			err = carrier
		}
		t.broken = err
	}
	if n > 0 {
		return nil
	}
	return err
}

// tellSent wakes the goroutine that holds the end of the stream back until the Write has ended. The caller holds mu,
// and has noted the error of the Write.
func (t *netConn) tellSent() {
	if t.sent != nil {
		close(t.sent)
		t.sent = nil
	}
}

// isTimeout also holds for an error that wraps the one of a deadline, and for one whose Timeout method says so.
func isTimeout(err error) bool {
	var timeout net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}

// halfCloser is a net.Conn that can end one direction, such as those of TCP, Unix sockets and TLS.
type halfCloser interface{ CloseWrite() error }

// canCloseWrite implements transport.
func (t *netConn) canCloseWrite() bool {
	_, ok := t.conn.(halfCloser)
	return ok
}

// closeWrite implements transport. It ends a Write that is going on: CloseWrite might wait for it.
func (t *netConn) closeWrite() (ended bool, err error) {
	interrupted := t.endSending()
	err = t.conn.(halfCloser).CloseWrite()
	if err != nil && !interrupted { // for example TLS before its handshake
		t.mu.Lock()
		t.shut = false
		t.mu.Unlock()
		return false, err
	}
	return true, err
}

// endSending makes later Writes fail, and reports whether it has interrupted one.
func (t *netConn) endSending() (interrupted bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.shut = true
	if !t.sending || t.stopped {
		return false
	}
	t.deadline = 0 // a value that no call sets
	_ = t.conn.SetWriteDeadline(longAgo)
	return true
}

// sendLater implements transport: there is no poller that could send.
func (t *netConn) sendLater() bool { return false }

// blocks implements transport.
func (t *netConn) blocks() bool { return true }
