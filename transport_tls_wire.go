package netpoll

// This file holds what package crypto/tls uses as its net.Conn. It gives the ciphertext that was received, and takes the
// ciphertext to send; the sending goroutine sends it later.

import (
	"net"
	"syscall"
	"time"

	"github.com/cloudwego/netpoll/internal/wait"
)

// recordHeader is the length of the header of a record: type, version, length.
const recordHeader = 5

// wouldBlock is the error of the wire that a tls.Conn does not keep. crypto/tls asserts net.Error of the value itself.
type wouldBlock struct{}

var errOpenLater net.Error = wouldBlock{}

func (wouldBlock) Error() string   { return "netpoll: no ciphertext at the moment" }
func (wouldBlock) Timeout() bool   { return true }
func (wouldBlock) Temporary() bool { return true }

// tlsWire is a tlsTransport as a net.Conn.
type tlsWire tlsTransport

var (
	_ net.Conn     = (*tlsWire)(nil)
	_ syscall.Conn = (*tlsWire)(nil)
)

// Read gives ciphertext to tls.Conn; the caller is the opener. It never gives bytes of two records, so tls.Conn never
// has a record that it was not asked for, and its buffer can be lent.
func (w *tlsWire) Read(p []byte) (n int, err error) {
	t := (*tlsTransport)(w)
	if t.lent || len(p) == 0 {
		return 0, errOpenLater
	}
	var waiter *wait.Waiter
	for {
		ended := t.inEnded.Load() // before looking for bytes: those that came before the end count
		if n = t.giveRecord(p, ended); n > 0 {
			break
		}
		if err = t.whyNothing(ended); err != nil {
			break
		}
		if waiter == nil {
			waiter = t.arrival.Start()
			continue // look again, now that the receiving goroutine sees the waiter
		}
		if t.out.Len() > 0 { // a flight of the handshake is complete
			t.up.sendOwn()
		}
		t.leaveSlot()
		waiter.Wait(wait.NoDeadline)
	}
	if waiter != nil {
		t.arrival.Stop(waiter)
		t.takeSlot()
	}
	t.resumeUnopened()
	return n, err
}

// whyNothing is the error of a Read for which there is no ciphertext, or nil if it has to wait.
func (t *tlsTransport) whyNothing(ended bool) error {
	switch cancelled := t.cancelled.Load(); {
	case cancelled != nil && t.blocking:
		return cancelled.err
	case ended && t.inErr == nil:
		return net.ErrClosed
	case ended:
		return t.inErr
	case !t.blocking:
		return errOpenLater
	}
	return nil
}

// giveRecord copies bytes of the record that is next, or that it has begun, into p. ended says that no more will come.
func (t *tlsTransport) giveRecord(p []byte, ended bool) int {
	have := t.in.Len()
	if t.left == 0 {
		switch {
		case have >= recordHeader:
			header, _ := t.in.Peek(recordHeader)
			t.left = recordSize(header)
		case !ended:
			return 0
		default:
			t.left = have
		}
	}
	n := t.in.readCopy(p[:min(t.left, len(p))])
	t.left -= n
	return n
}

// recordSize is the size of a record with its header.
func recordSize(header []byte) int { return recordHeader + int(header[3])<<8 + int(header[4]) }

// Write takes ciphertext. It copies, because tls.Conn uses p again.
func (w *tlsWire) Write(p []byte) (n int, err error) {
	t := (*tlsTransport)(w)
	n = len(p)
	sealing := int(t.sealing.Load())
	for len(p) > 0 {
		room := t.out.book(max(len(p), min(sealing, maxSealed)))
		k := copy(room, p)
		t.out.bookAck(k)
		p = p[k:]
	}
	if sealing == 0 {
		t.own.Add(int64(n))
	}
	return n, nil
}

// Close is called by tls.Conn when the context of a handshake ends.
func (w *tlsWire) Close() error {
	(*tlsTransport)(w).cancel(net.ErrClosed)
	return nil
}

func (w *tlsWire) LocalAddr() net.Addr { return w.below.localAddr() }

func (w *tlsWire) RemoteAddr() net.Addr { return w.below.remoteAddr() }

// SetDeadline, like the two others, does nothing. Deadlines are those of the connection, and a call of the connection
// waits, not the wire.
func (w *tlsWire) SetDeadline(time.Time) error { return nil }

func (w *tlsWire) SetReadDeadline(time.Time) error { return nil }

func (w *tlsWire) SetWriteDeadline(time.Time) error { return nil }

// SyscallConn gives access to the options of the socket.
func (w *tlsWire) SyscallConn() (syscall.RawConn, error) { return (*tlsTransport)(w).rawConn() }
