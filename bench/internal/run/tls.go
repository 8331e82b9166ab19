package run

// This file measures servers of TLS. The other end is a program over package net for requests, and this process for idle
// sessions.

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/netip"

	"github.com/cloudwego/netpoll/bench/internal/frame"
	"github.com/cloudwego/netpoll/bench/internal/plan"
	"github.com/cloudwego/netpoll/bench/internal/secure"
	"github.com/cloudwego/netpoll/bench/internal/stat"
)

// tls measures a server under the load of a client over package net.
func (r *Runner) tls(sub plan.Subject, sc plan.Scenario) (Sample, error) {
	loader, err := plan.Find(plan.Clients, plan.Net)
	if err != nil {
		return Sample{}, err
	}
	how := "full"
	if sc.Resumed {
		how = "resumed"
	}
	return r.loaded(sub, sc, func(server *process) (*process, error) {
		return r.clientOf(loader, sc, server, "-tls", how)
	})
}

// idleTLS measures a server that has sessions and no requests. Each has echoed one message.
func (r *Runner) idleTLS(sub plan.Subject, sc plan.Scenario) (s Sample, err error) {
	p, addr, err := r.serverOf(sub, sc)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	if err := echoOverTLS(addr, 1, sc.Size); err != nil { // what the first session brings with it is no one's share
		return s, err
	}
	empty, err := p.ask(stat.Collect)
	if err != nil {
		return s, err
	}
	var sessions tlsSessions
	defer sessions.close()
	if err := sessions.open(addr, sc.Conns, sc.Size); err != nil {
		return s, err
	}
	return r.rest(p, empty, sc.Conns)
}

func echoOverTLS(addr netip.AddrPort, n, size int) error {
	var sessions tlsSessions
	defer sessions.close()
	return sessions.open(addr, n, size)
}

// tlsSessions are sessions of this process.
type tlsSessions []*tls.Conn

// open opens n more, each of which sends a message of that size and gets it back.
func (list *tlsSessions) open(addr netip.AddrPort, n, size int) error {
	config := secure.Client(false)
	t, err := frame.NewTemplate(size)
	if err != nil {
		return err
	}
	buf := make([]byte, t.Len())
	for i := range n {
		c, err := tls.Dial("tcp", addr.String(), config)
		if err != nil {
			return fmt.Errorf("session %d: %w", i, err)
		}
		*list = append(*list, c)
		t.Put(buf, uint64(i))
		if _, err := c.Write(buf); err != nil {
			return fmt.Errorf("session %d: %w", i, err)
		}
		if _, err := io.ReadFull(c, buf); err != nil {
			return fmt.Errorf("session %d: %w", i, err)
		}
		if err := t.Verify(buf, uint64(i)); err != nil {
			return fmt.Errorf("session %d: %w", i, err)
		}
	}
	return nil
}

func (list *tlsSessions) close() {
	for _, c := range *list {
		_ = c.NetConn().Close()
	}
}
