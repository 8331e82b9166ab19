package netpoll

// This file holds connections with TLS as their user sees them. How TLS works is in transport_tls.go.

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"syscall"

	"github.com/cloudwego/netpoll/internal/interleave/clock"
	"github.com/cloudwego/netpoll/internal/wait"
)

// TLSConnection is a [Connection] with TLS: its Reader and its Writer have plaintext. It is a full [net.Conn], and has
// the methods of *[tls.Conn]. Package crypto/tls, unmodified, does everything that is TLS. While it waits it costs no
// goroutine and no record buffer, where this system has a poller and the connection below is a socket; over any other
// [net.Conn] there is a goroutine that reads, as for [NewConnection].
//
// It differs from other connections, and from a tls.Conn, in this:
//
//   - Until the handshake is over nothing can be read or written: calls wait. Where the program makes the connection
//     ([NewTLSListener], [TLSServer], [TLSClient]) it begins with the first use: Handshake, a call that reads or sends,
//     SetOnRequest or SetOnConnect. It runs on a goroutine of the runner, and so do the callbacks of the [tls.Config].
//   - Deadlines and timeouts end calls, never the session: after a timeout in the middle of a record the rest is sent
//     first by the next Flush or Write. A Write that has timed out returns how many bytes it has encrypted; the peer gets
//     these, if later calls can send. WriteByte cannot say that: after a timeout its byte may be one of these.
//   - Close sends close_notify behind everything that was flushed, and does not wait for it. It does not if output that
//     was flushed is lost, or while another goroutine is in Flush or Write: then the peer sees a stream that is cut.
//   - close_notify of the peer ends the input as the end of a stream does: IsActive is false, Read returns io.EOF. So does
//     the end of the connection below at the end of a record, as with crypto/tls. Anywhere else it is an error that Is
//     [io.ErrUnexpectedEOF].
//   - Errors of crypto/tls, such as alerts and those of certificates, are found by [errors.As] in the errors of all calls.
//   - The limit of SetReadLimit is for plaintext, and one record, of up to 16 KiB, may go beyond it.
//   - A client whose Config allows renegotiation has a goroutine that reads, if TLS 1.2 is agreed.
//   - Detach returns an error that Is [ErrUnsupported]. SyscallConn is for options, and for the look of a pool.
type TLSConnection struct {
	streamConnection
	session tlsTransport
}

var (
	_ Connection = (*TLSConnection)(nil)
	_ Conn       = (*TLSConnection)(nil)
)

// Handshake waits until the handshake is over, and begins it if that has not happened. Its error is that of the
// handshake. It waits for the read deadline or timeout at most; after a timeout the handshake goes on. It counts as a
// Read: several goroutines may call it, and Read; a call of Reader at the same time may get [ErrConcurrentAccess].
func (c *TLSConnection) Handshake() error { return c.HandshakeContext(context.Background()) }

// HandshakeContext is Handshake that also ends when ctx does. Then the session is over, as with crypto/tls: this call
// and all later ones return the error of ctx. Once it has returned nil, ctx has no effect.
func (c *TLSConnection) HandshakeContext(ctx context.Context) error {
	if c.session.ready() {
		return nil
	}
	start := clock.Now()
	c.readers.Lock()
	defer c.readers.Unlock()
	if err := c.beginRead(); err != nil {
		return err
	}
	defer c.endRead()
	w := c.reading.Start()
	defer c.reading.Stop(w)
	defer context.AfterFunc(ctx, func() { c.session.cancel(ctx.Err()) })()
	c.use()
	for !c.session.ready() {
		if err := c.session.failure.Load(); err != nil {
			return err.err
		}
		if b := c.life.load(); b.phase() >= phaseClosing {
			return c.closedError("when handshake")
		}
		deadline := c.reading.Until(start)
		if deadline != wait.NoDeadline && deadline <= clock.Now() {
			return Exception(ErrReadTimeout, "in TLS handshake with "+c.peerName())
		}
		w.Wait(deadline)
	}
	return nil
}

// ConnectionState returns what the handshake has agreed on. While a handshake runs it waits for its end.
func (c *TLSConnection) ConnectionState() tls.ConnectionState {
	return c.session.conn.ConnectionState()
}

// OCSPResponse returns the stapled OCSP response of the server, on a client after the handshake.
func (c *TLSConnection) OCSPResponse() []byte { return c.session.conn.OCSPResponse() }

// VerifyHostname checks that the certificate of the server is valid for host, on a client after the handshake.
func (c *TLSConnection) VerifyHostname(host string) error { return c.session.conn.VerifyHostname(host) }

// NetConn returns what carries the session: the addresses, and access to the options of the socket by SyscallConn.
// Reading from it, or writing to it, breaks the session.
func (c *TLSConnection) NetConn() net.Conn { return (*tlsWire)(&c.session) }

// SyscallConn gives access to the descriptor below the session. Control is for options.
//
// Read is for connection pools that look whether an idle connection is silent: it calls its function once, which must not
// wait, and should peek, since a session that has lost a byte is broken. The function is not called if there is unread
// input, which is an error that Is [ErrBufferedInput], or if the input has ended; the descriptor would not show that.
// Meanwhile nothing is received. If the function returns false, to be called again, Read returns an error, as Write does
// always.
func (c *TLSConnection) SyscallConn() (syscall.RawConn, error) {
	raw, err := c.streamConnection.SyscallConn()
	if err != nil {
		return nil, err
	}
	return rawSession{raw, c}, nil
}

// rawSession is the syscall.RawConn of a TLSConnection.
type rawSession struct {
	syscall.RawConn // Control, and Write, which fails
	c               *TLSConnection
}

// Read implements syscall.RawConn.
func (r rawSession) Read(f func(fd uintptr) (done bool)) error {
	c := r.c
	if err := c.beginRawRead(clock.Now()); err != nil {
		return err
	}
	defer c.endRawRead()
	if err := c.inputOver(); err != nil {
		return err
	}
	if c.session.in.Len() > 0 { // a part of a record
		return fmt.Errorf("raw read: %w", ErrBufferedInput)
	}
	done := false
	if err := r.Control(func(fd uintptr) { done = f(fd) }); err != nil {
		return err
	}
	if !done {
		return errBelowTLS
	}
	return nil
}

// CloseWrite sends close_notify behind everything that was flushed. Later calls of Flush and Write fail with EPIPE. The
// peer may go on sending, and is read. As with crypto/tls, the connection below stays open in both directions. Before the
// end of the handshake the error Is [ErrUnsupported].
func (c *TLSConnection) CloseWrite() error { return c.connection.CloseWrite() }
