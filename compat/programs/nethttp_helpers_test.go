package programs

// A site of net/http: a server and a client. One or both of them are on the library.

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// protocol is the protocol of the requests.
type protocol int

const (
	http1 protocol = iota
	http2OverTLS
	http2Plain

	// TLS of the library on each side that is on it, and of crypto/tls on the other. In those above it is net/http that
	// has TLS.
	http1OwnTLS
	http2OwnTLS
)

// protocols are all of them that the library under test has: the original has no TLS.
var protocols = []protocol{http1, http2OverTLS, http2Plain}

// ownTLS prepares a site for the last two protocols, if the library has TLS, and returns its sides with TLS.
var ownTLS func(t *testing.T, s *webSite, on sides, p protocol) sides

func (p protocol) String() string {
	return [...]string{"HTTP1", "HTTP2-TLS", "HTTP2-plain", "HTTP1-own-TLS", "HTTP2-own-TLS"}[p]
}

// version returns the version of HTTP.
func (p protocol) version() int {
	if p == http1 || p == http1OwnTLS {
		return 1
	}
	return 2
}

// byALPN reports whether a client that knows nothing of the server finds HTTP/2.
func (p protocol) byALPN() bool { return p == http2OverTLS || p == http2OwnTLS }

// overProtocols runs test for every protocol, with the library on either side and on both.
func overProtocols(t *testing.T, test func(t *testing.T, on sides, p protocol)) {
	for _, p := range protocols {
		t.Run(p.String(), func(t *testing.T) {
			overSides(t, func(t *testing.T, on sides) { test(t, on, p) })
		})
	}
}

// webSite is a server under test with its client.
type webSite struct {
	addr      string
	url       string
	client    *http.Client
	transport *http.Transport
	server    *http.Server
	served    chan error   // delivers the result of Serve
	conns     atomic.Int32 // connections that the server has seen
	pem       []byte       // the certificate, with TLS
}

// startSite serves on a free loopback port until the test ends. A test can change the settings with change.
func startSite(t *testing.T, on sides, p protocol, h http.Handler, change ...func(*webSite)) *webSite {
	t.Helper()
	return startSiteOn(t, on, p, "127.0.0.1:0", h, change...)
}

// startSiteOn is startSite on an address that the caller chooses.
func startSiteOn(
	t *testing.T, on sides, p protocol, address string, h http.Handler, change ...func(*webSite),
) *webSite {
	t.Helper()
	s := &webSite{transport: &http.Transport{DialContext: on.dial}, served: make(chan error, 1)}
	s.server = &http.Server{Handler: h, ConnState: func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.conns.Add(1)
		}
	}}
	s.client = &http.Client{Transport: s.transport, Timeout: patience}
	if p == http1OwnTLS || p == http2OwnTLS {
		on = ownTLS(t, s, on, p)
	}
	ln := on.listenOn(t, address)
	s.addr = ln.Addr().String()
	s.url = "http://" + s.addr
	serve := s.server.Serve
	switch p {
	case http1OwnTLS, http2OwnTLS:
		s.url = "https://" + s.addr
	case http2OverTLS:
		var trust *x509.CertPool
		s.server.TLSConfig, trust, s.pem = certificate(t)
		s.transport.TLSClientConfig = &tls.Config{RootCAs: trust}
		s.transport.ForceAttemptHTTP2 = true
		s.url = "https://" + s.addr
		serve = func(ln net.Listener) error { return s.server.ServeTLS(ln, "", "") }
	case http2Plain:
		s.server.Protocols, s.transport.Protocols = new(http.Protocols), new(http.Protocols)
		s.server.Protocols.SetUnencryptedHTTP2(true)
		s.transport.Protocols.SetUnencryptedHTTP2(true)
	}
	for _, f := range change {
		f(s)
	}
	go func() { s.served <- serve(ln) }()
	t.Cleanup(func() {
		s.transport.CloseIdleConnections()
		_ = s.server.Close()
		require.ErrorIs(t, await(t, s.served, "the end of Serve"), http.ErrServerClosed)
	})
	return s
}

// shutdown shuts the server down. The cleanup of the test checks the result of Serve.
func (s *webSite) shutdown() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return s.server.Shutdown(ctx)
}

// do sends a request and returns the answer's status and body.
func (s *webSite) do(ctx context.Context, method, path string, body io.Reader) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, s.url+path, body)
	if err != nil {
		return 0, nil, err
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	return resp.StatusCode, got, err
}

// echo posts body and fails if anything else comes back.
func (s *webSite) echo(ctx context.Context, body []byte) error {
	code, got, err := s.do(ctx, http.MethodPost, "/", bytes.NewReader(body))
	if err == nil && (code != http.StatusOK || !bytes.Equal(got, body)) {
		err = errors.New("the answer differs from what was sent: " + digest(got) + " for " + digest(body))
	}
	return err
}

// echoBody is a handler that reads the whole body and sends it back.
func echoBody(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	_, _ = w.Write(body)
}

// streamBody is a handler that sends the body back while it reads it.
func streamBody(w http.ResponseWriter, r *http.Request) {
	rc := http.NewResponseController(w)
	_ = rc.EnableFullDuplex() // HTTP/2 is full duplex anyway
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Body.Read(buf)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return
			}
			_ = rc.Flush()
		}
		if err != nil {
			return
		}
	}
}

// certificate returns the settings of a server on 127.0.0.1, a pool that trusts its certificate, and the certificate in
// PEM, for curl.
func certificate(t *testing.T) (server *tls.Config, trust *x509.CertPool, pemCert []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "test"},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	trust = x509.NewCertPool()
	trust.AddCert(cert)
	server = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	return server, trust, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
