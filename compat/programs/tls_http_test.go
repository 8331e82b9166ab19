//go:build !original

package programs

// What a program of net/http sees of TLS that is below it.

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"

	"github.com/cloudwego/netpoll"
	"github.com/stretchr/testify/require"
)

// net/http of Go 1.26 looks at a connection that is no *tls.Conn once, before the handshake, and at one that hides its
// ConnectionState, as for HTTP/2 here, not at all.
func TestHTTPHandlerSeesTheSessionFromGo127On(t *testing.T) {
	for p, want := range map[protocol]string{http1OwnTLS: "http/1.1", http2OwnTLS: "h2"} {
		t.Run(p.String(), func(t *testing.T) {
			sessions := make(chan *tls.ConnectionState, 1)
			s := startSite(t, sides{server: true, client: true}, p, http.HandlerFunc(
				func(_ http.ResponseWriter, r *http.Request) { sessions <- r.TLS }))
			_, _, err := s.do(timeLimit(t), http.MethodGet, "/", nil)
			require.NoError(t, err)
			session := await(t, sessions, "a request")
			if !httpSeesTLS {
				require.True(t, session == nil || !session.HandshakeComplete)
				return
			}
			require.True(t, session.HandshakeComplete)
			require.Equal(t, want, session.NegotiatedProtocol)
		})
	}
}

func TestHTTPServerOutlivesAClientWithoutTLS(t *testing.T) {
	s := startSite(t, sides{server: true, client: true}, http1OwnTLS, http.HandlerFunc(echoBody))
	for range 3 {
		conn := rawDial(t, s.addr)
		_, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		require.NoError(t, err)
		answer, err := io.ReadAll(conn)
		require.NoError(t, err)
		require.NotContains(t, string(answer), "200 OK")
		require.NoError(t, s.echo(timeLimit(t), []byte("still there")))
	}
}

// A program that accepts connections after their handshake has HTTP/1.1 and HTTP/2 at one port, also with Go 1.26.
func TestHTTPServerHasBothVersionsAtOnePort(t *testing.T) {
	layer := newTLSLayer(t, "h2", "http/1.1")
	ln := &readyListener{
		Listener: layer.listener(sides{server: true}.listenBare(t, "127.0.0.1:0"), true),
		ready:    make(chan net.Conn), closed: make(chan struct{}),
	}
	ln.running.Go(ln.run)
	server := &http.Server{Protocols: new(http.Protocols), Handler: http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Proto", r.Proto)
			echoBody(w, r)
		})}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetHTTP2(true)
	server.Protocols.SetUnencryptedHTTP2(!httpSeesTLS)
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()

	for want, alpn := range map[string]string{"HTTP/1.1": "http/1.1", "HTTP/2.0": "h2"} {
		config := layer.client.Clone()
		config.NextProtos = []string{alpn}
		transport := &http.Transport{
			DialTLSContext: (&netpoll.TLSDialer{Config: config}).DialContext, Protocols: new(http.Protocols),
		}
		transport.Protocols.SetHTTP1(alpn == "http/1.1")
		transport.Protocols.SetHTTP2(alpn == "h2")
		transport.Protocols.SetUnencryptedHTTP2(alpn == "h2" && !httpSeesTLS)
		s := &webSite{url: "https://" + ln.Addr().String(), client: &http.Client{Transport: transport, Timeout: patience}}
		for i, size := range []int{0, 1, 16384, 3 << 20} {
			require.NoError(t, s.echo(timeLimit(t), pattern(i, size)), "%s: %d bytes", want, size)
		}
		resp, err := s.client.Get(s.url)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, want, resp.Header.Get("Proto"))
		transport.CloseIdleConnections()
	}
	require.NoError(t, server.Close())
	require.ErrorIs(t, await(t, served, "the end of Serve"), http.ErrServerClosed)
	ln.running.Wait()
}

// readyListener accepts connections after their handshake.
type readyListener struct {
	net.Listener
	ready   chan net.Conn
	closed  chan struct{}
	running sync.WaitGroup
}

func (ln *readyListener) run() {
	for {
		conn, err := ln.Listener.Accept()
		if err != nil {
			return
		}
		ln.running.Go(func() {
			session := conn.(*netpoll.TLSConnection)
			if session.Handshake() != nil {
				_ = conn.Close()
				return
			}
			if session.ConnectionState().NegotiatedProtocol == "h2" && !httpSeesTLS {
				conn = struct{ net.Conn }{conn} // see hidingLayer
			}
			select {
			case ln.ready <- conn:
			case <-ln.closed:
				_ = conn.Close()
			}
		})
	}
}

func (ln *readyListener) Accept() (net.Conn, error) {
	select {
	case conn := <-ln.ready:
		return conn, nil
	case <-ln.closed:
		return nil, net.ErrClosed
	}
}

func (ln *readyListener) Close() error {
	close(ln.closed) // net/http calls it once
	return ln.Listener.Close()
}
