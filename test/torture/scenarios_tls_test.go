//go:build faults && linux && !netconn && !kqsim

package torture

// Scenarios with TLS. Beside what holds for all of them, a byte that was changed, lost or added is an error of TLS itself.

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
)

// tlsConfig is for servers, and for clients that do not look at the certificate.
var tlsConfig = sync.OnceValue(func() *tls.Config {
	return &tls.Config{
		Certificates:       []tls.Certificate{testkit.Certificate()},
		InsecureSkipVerify: true,
		CurvePreferences:   []tls.CurveID{tls.X25519}, // the quickest
	}
})

// dialTLS connects to addr until the scenario is over. The handshake is over then, too.
func (e *env) dialTLS(addr net.Addr) (netpoll.Connection, error) {
	dialer := &netpoll.TLSDialer{Config: tlsConfig()}
	conn, err := dialer.DialConnection(addr.Network(), addr.String(), endTime/2)
	if err != nil {
		return nil, err
	}
	e.know(conn)
	e.later(func() { _ = conn.Close() })
	return conn, nil
}

// connectTLS returns a connection with TLS to a server of its own.
func (e *env) connectTLS(on netpoll.OnRequest, opts ...netpoll.Option) (netpoll.Connection, error) {
	addr, err := e.serve(on, append(opts, withTLS(), e.quietTLS())...)
	if err != nil {
		return nil, err
	}
	return e.dialTLS(addr)
}

func withTLS() netpoll.Option { return netpoll.WithTLSConfig(tlsConfig()) }

// quietTLS takes the errors of handshakes, none of which may be without a reason.
func (e *env) quietTLS() netpoll.Option {
	return netpoll.WithOnTLSHandshakeError(func(_ net.Conn, err error) {
		if err == nil {
			e.wrong("a handshake has failed without an error")
		}
	})
}

func runTLSEcho(e *env) error { return echoOver(e, (*env).connectTLS) }

func runTLSLarge(e *env) error { return largeOver(e, (*env).connectTLS) }

func runTLSHalfClose(e *env) error { return halfCloseOver(e, (*env).connectTLS) }

// runTLSMany has more handshakes at once than the limit allows.
func runTLSMany(e *env) error {
	addr, err := e.serve(orClose(testnet.Echo), withTLS(), e.quietTLS(), netpoll.WithTLSHandshakeLimit(1))
	if err != nil {
		return err
	}
	return allOf(4, func(int) error {
		conn, err := e.dialTLS(addr)
		if err != nil {
			return err
		}
		return e.exchange(conn, "hello")
	})
}

// runTLSPlain has a peer that does not speak TLS. The server ends the connection, and calls nothing but what is for it.
func runTLSPlain(e *env) error {
	var failures atomic.Int64
	addr, err := e.serve(orClose(testnet.Echo), withTLS(),
		netpoll.WithOnConnect(func(ctx context.Context, _ netpoll.Connection) context.Context {
			e.wrong("OnConnect without a handshake")
			return ctx
		}),
		netpoll.WithOnDisconnect(func(context.Context, netpoll.Connection) { e.wrong("OnDisconnect without a handshake") }),
		netpoll.WithOnTLSHandshakeError(func(net.Conn, error) { failures.Add(1) }))
	if err != nil {
		return err
	}
	peer, err := net.Dial(addr.Network(), addr.String())
	if err != nil {
		return err
	}
	defer peer.Close()
	if _, err := peer.Write([]byte("GET / HTTP/1.1\r\n\r\n")); err != nil {
		return err
	}
	_ = peer.SetReadDeadline(time.Now().Add(endTime / 2))
	if _, err := io.Copy(io.Discard, peer); errors.Is(err, context.DeadlineExceeded) {
		e.wrong("a failed handshake has not ended its connection")
	}
	if !e.soon(func() bool { return e.prepared.Load() == e.closed.Load() }) {
		e.wrong("a connection whose handshake has failed is not closed")
	}
	switch n := failures.Load(); {
	case n > 1:
		e.wrong("one handshake was reported as failed %d times", n)
	case n == 0: // it could not be started
		return io.ErrUnexpectedEOF
	}
	return nil
}

// runTLSUpgrade begins without TLS, on both sides.
func runTLSUpgrade(e *env) error {
	conn, err := e.connect(orClose(func(_ context.Context, conn netpoll.Connection) error {
		if _, err := conn.Reader().ReadString(len("STARTTLS")); err != nil {
			return err
		}
		if err := conn.Reader().Release(); err != nil {
			return err
		}
		if _, err := conn.Write([]byte("go")); err != nil {
			return err
		}
		session, err := netpoll.TLSServer(conn, tlsConfig())
		if err != nil {
			return err
		}
		e.know(session)
		return session.SetOnRequest(orClose(testnet.Echo))
	}), e.quietTLS())
	if err != nil {
		return err
	}
	if _, err := conn.Write([]byte("STARTTLS")); err != nil {
		return err
	}
	if err := e.expect(conn, "go"); err != nil {
		return err
	}
	if err := conn.Reader().Release(); err != nil {
		return err
	}
	session, err := netpoll.TLSClient(conn, tlsConfig())
	if err != nil {
		return err
	}
	e.know(session)
	e.later(func() { _ = session.Close() })
	_ = session.SetReadTimeout(endTime / 2)
	return e.exchange(session, "hello")
}

// runTLSWriteTimeout has a peer that does not read for a while: the session goes on after the timeout.
func runTLSWriteTimeout(e *env) error {
	ln, err := (&net.ListenConfig{Control: tinyBuffer}).Listen(context.Background(), e.network, e.address())
	if err != nil {
		return err
	}
	defer ln.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		defer close(accepted)
		raw, err := ln.Accept()
		if err != nil {
			return
		}
		peer := tls.Server(raw, tlsConfig())
		_ = peer.SetDeadline(time.Now().Add(endTime / 2))
		if peer.Handshake() != nil {
			_ = raw.Close()
			return
		}
		accepted <- peer
	}()
	dialer := &netpoll.TLSDialer{Config: tlsConfig(), NetDialer: netpoll.NetDialer{Dialer: net.Dialer{Control: tinyBuffer}}}
	conn, err := dialer.DialConnection(e.network, ln.Addr().String(), endTime/2)
	if err != nil {
		_ = ln.Close()
		<-accepted
		return err
	}
	defer conn.Close()
	peer, ok := <-accepted
	if !ok {
		return io.ErrUnexpectedEOF
	}
	defer peer.Close()
	return e.flushTwice(conn, peer, testkit.Pattern(600<<10))
}
