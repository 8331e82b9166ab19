//go:build !original

package compat

// TLS of the library below the frameworks. They see listeners, dialers and connections as ever.

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"time"

	"github.com/cloudwego/netpoll"
)

func init() { overTLS = newTLSLayer() }

// tlsLayer has a server and clients that trust it.
type tlsLayer struct {
	server, client *tls.Config
}

func newTLSLayer() *tlsLayer {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der := must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))
	trust := x509.NewCertPool()
	trust.AddCert(must(x509.ParseCertificate(der)))
	return &tlsLayer{
		server: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}},
		client: &tls.Config{RootCAs: trust, ServerName: "127.0.0.1"},
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func (l *tlsLayer) listener(ln net.Listener) net.Listener {
	return netpoll.NewTLSListener(ln, l.server)
}

func (l *tlsLayer) dialer() netpoll.Dialer { return &netpoll.TLSDialer{Config: l.client} }

func (l *tlsLayer) peer(conn net.Conn) net.Conn { return tls.Client(conn, l.client) }
