//go:build !original

package programs

// TLS of the library below programs, which see nothing of it: listeners and dialers whose connections have it.

import (
	"context"
	"crypto/tls"
	"go/build"
	"net"
	"net/http"
	"slices"
	"testing"

	"github.com/cloudwego/netpoll"
)

// tlsLayer is TLS of the library on each side that is on it, and of crypto/tls on the other.
type tlsLayer struct {
	server, client *tls.Config
	pem            []byte // the certificate of the server
}

// tlsConfigs returns what a server and a client need that trust each other.
func tlsConfigs(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	server, trust, _ := certificate(t)
	return server, &tls.Config{RootCAs: trust, ServerName: "127.0.0.1"}
}

// newTLSLayer returns one whose sides trust each other, and agree on one of the protocols, if there are any.
func newTLSLayer(t *testing.T, protocols ...string) *tlsLayer {
	t.Helper()
	server, trust, pem := certificate(t)
	server.NextProtos = protocols
	client := &tls.Config{RootCAs: trust, ServerName: "127.0.0.1", NextProtos: protocols}
	return &tlsLayer{server: server, client: client, pem: pem}
}

func (l *tlsLayer) listener(ln net.Listener, ours bool) net.Listener {
	if !ours {
		return tls.NewListener(ln, l.server)
	}
	return netpoll.NewTLSListener(ln, l.server)
}

func (l *tlsLayer) dial(ctx context.Context, network, address string, ours bool) (net.Conn, error) {
	if !ours {
		return (&tls.Dialer{Config: l.client}).DialContext(ctx, network, address)
	}
	return (&netpoll.TLSDialer{Config: l.client}).DialContext(ctx, network, address)
}

func (l *tlsLayer) authority() []byte { return l.pem }

func (l *tlsLayer) option() netpoll.Option { return netpoll.WithTLSConfig(l.server) }

// httpSeesTLS says that net/http takes HTTP/2 from ALPN on any connection with a method ConnectionState, as it does from
// Go 1.27 on. Before, it does so on a *tls.Conn only.
var httpSeesTLS = slices.Contains(build.Default.ReleaseTags, "go1.27")

func init() {
	newOwnLayer = func(t *testing.T) layer { return newTLSLayer(t) }
	protocols = append(protocols, http1OwnTLS, http2OwnTLS)
	ownTLS = func(t *testing.T, s *webSite, on sides, p protocol) sides {
		t.Helper()
		alpn := "http/1.1"
		if p == http2OwnTLS {
			alpn = "h2"
		}
		l := newTLSLayer(t, alpn)
		on.layer, s.pem = l, l.pem
		s.transport.DialTLSContext = on.dial
		// For the tests only: with DialTLSContext it has no effect. net/http changes its NextProtos.
		s.transport.TLSClientConfig = &tls.Config{RootCAs: l.client.RootCAs}
		s.transport.ForceAttemptHTTP2 = p == http2OwnTLS
		if p == http2OwnTLS && !httpSeesTLS {
			on.layer = withPriorKnowledge(s, on, l)
		}
		return on
	}
}

// withPriorKnowledge makes the sides that are on the library speak HTTP/2 without a look at ALPN, which has agreed on it.
func withPriorKnowledge(s *webSite, on sides, l *tlsLayer) layer {
	var h2 http.Protocols
	h2.SetUnencryptedHTTP2(true)
	if on.client {
		s.transport.Protocols = &h2
	}
	if on.server {
		s.server.Protocols = &h2
	}
	return &hidingLayer{l}
}

// hidingLayer is a tlsLayer whose accepted connections have no ConnectionState. net/http expects no HTTP/2 with prior
// knowledge on those that have it.
type hidingLayer struct{ *tlsLayer }

func (l *hidingLayer) listener(ln net.Listener, ours bool) net.Listener {
	if !ours {
		return l.tlsLayer.listener(ln, false)
	}
	return &hidingListener{l.tlsLayer.listener(ln, true)}
}

type hidingListener struct{ net.Listener }

func (ln *hidingListener) Accept() (net.Conn, error) {
	conn, err := ln.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return struct{ net.Conn }{conn}, nil
}
