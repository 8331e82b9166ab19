//go:build linux && !netconn

package netpoll

// Simulated connections over a foreign net.Conn, which no poller can watch.

import (
	"net"
	"time"
)

// simForeign is a net.Conn of an unknown type, whose Close may take long.
type simForeign struct {
	net.Conn
	slow time.Duration
}

func (f simForeign) CloseWrite() error { return f.Conn.(interface{ CloseWrite() error }).CloseWrite() }

func (f simForeign) Close() error {
	if f.slow > 0 {
		<-time.After(f.slow)
	}
	return f.Conn.Close()
}

// foreign hides what conn is.
func (p *simPlan) foreign(conn net.Conn) simForeign {
	f := simForeign{Conn: conn}
	if p.slowClose {
		f.slow = time.Millisecond
	}
	return f
}

// simForeignListener hands out such connections. One is accepted at a time.
type simForeignListener struct {
	net.Listener
	next chan *simPlan // of those that are about to be dialed
}

func (ln simForeignListener) Accept() (net.Conn, error) {
	conn, err := ln.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return (<-ln.next).foreign(conn), nil
}

// detachForeign is Detach of such a connection; the net.Conn that it gives back is read on and closed.
func (l *simLife) detachForeign() {
	var err error
	conn := l.c.NetConn()
	apart(func() { err = l.c.Detach() })
	if err != nil {
		return // another goroutine was faster
	}
	<-l.over
	raw, err := conn.(simForeign).Conn.(*net.TCPConn).SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { l.readOn(int(fd)) })
	}
	if err != nil {
		l.fail("what Detach gave back: %v", err)
	}
	_ = conn.Close()
}
