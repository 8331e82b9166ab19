package victim

// This file holds what the server has for TLS: a second listener, so that the clients beside an attack need none.

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"time"

	"github.com/cloudwego/netpoll"
)

// tlsConfig returns a configuration with a certificate of its own.
func tlsConfig() (*tls.Config, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, nil
}

// listenTLS returns the second listener.
func listenTLS(config Config) (net.Listener, error) {
	side, err := tlsConfig()
	if err != nil {
		return nil, err
	}
	ln, err := listen(config)
	if err != nil {
		return nil, err
	}
	if config.Plain {
		return tls.NewListener(ln, side), nil
	}
	return netpoll.NewTLSListener(ln, side), nil
}

// serveAll serves all listeners, and reports the end of the last.
func (s *server) serveAll(serve func(net.Listener) error, list []net.Listener) {
	ends := make(chan error, len(list))
	for _, ln := range list {
		go func() { ends <- serve(ln) }()
	}
	go func() {
		var err error
		for range list {
			err = errors.Join(err, <-ends)
		}
		s.served <- err
	}()
}

// handshake is that of a server over package net.
func (s *server) handshake(conn net.Conn) error {
	session, ok := conn.(*tls.Conn)
	if !ok {
		return nil
	}
	_ = conn.SetDeadline(after(s.config.HandshakeTimeout))
	defer conn.SetDeadline(time.Time{})
	return session.Handshake()
}
