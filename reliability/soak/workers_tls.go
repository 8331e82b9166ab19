package main

// This file holds the workers with TLS: dialed sessions, and visits of package crypto/tls that end in various ways.

import (
	"crypto/tls"
	"math/rand/v2"
	"net"
	"time"

	"github.com/cloudwego/netpoll"

	"github.com/cloudwego/netpoll/reliability/internal/good"
	"github.com/cloudwego/netpoll/reliability/internal/victim"
)

// tlsConfig is that of the load. Its sessions are resumed.
var tlsConfig = &tls.Config{InsecureSkipVerify: true, ClientSessionCache: tls.NewLRUClientSessionCache(0)}

// tlsSession is a session with TLS at both ends.
func (l *load) tlsSession(random *rand.Rand) error {
	return l.sessionBy((&netpoll.TLSDialer{Config: tlsConfig}).DialContext, "tcp", l.TLSAddr, random)
}

// tlsVisit is an exchange of package crypto/tls, and an end: in order, cut, or by a reset; or a connection whose
// handshake never ends.
func (l *load) tlsVisit(random *rand.Rand) error {
	raw, err := net.DialTimeout("tcp", l.TLSAddr, patience)
	if err != nil {
		return err
	}
	defer raw.Close()
	if random.IntN(8) == 0 {
		_, err := raw.Write([]byte{22, 3, 1}[:random.IntN(4)])
		return err
	}
	config := tlsConfig
	if random.IntN(2) == 0 {
		config = &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}
	}
	conn := tls.Client(raw, config)
	_ = conn.SetDeadline(time.Now().Add(patience))
	if err := good.Exchange(conn, echo(random, size(random)), patience); err != nil {
		return err
	}
	switch random.IntN(4) {
	case 0:
		return raw.(*net.TCPConn).SetLinger(0)
	case 1:
		return nil
	case 2: // an answer that nobody reads
		_, err := conn.Write(victim.Ask('b', 64<<10, 0))
		return err
	default:
		return conn.Close()
	}
}
