package main

// This file holds the load: clients of package net that come, ask, wait, and go.

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// load is a number of clients.
type load struct {
	addr    string
	quit    chan struct{}
	clients sync.WaitGroup

	mu  sync.Mutex
	err error // guarded by mu
}

func startLoad(addr string, conns int) *load {
	l := &load{addr: addr, quit: make(chan struct{})}
	for range conns {
		l.clients.Go(func() {
			for !l.over() {
				if err := l.visit(); err != nil {
					l.failed(err)
					return
				}
			}
		})
	}
	return l
}

func (l *load) stop() error {
	close(l.quit)
	l.clients.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

func (l *load) failed(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = errors.Join(l.err, err)
}

func (l *load) over() bool {
	select {
	case <-l.quit:
		return true
	default:
		return false
	}
}

// visit makes one connection and some requests on it, fewer and more by turns.
func (l *load) visit() error {
	conn, err := net.Dial("tcp", l.addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if rand.IntN(4) == 0 {
		defer func() { _ = conn.(*net.TCPConn).SetLinger(0) }() // the Close behind it is a reset
	}
	buf := make([]byte, 1<<rand.IntN(12))
	for range 200 + rand.IntN(2000) {
		if _, err := conn.Write(buf); err != nil {
			return err
		}
		if _, err := io.ReadFull(conn, buf); err != nil {
			return err
		}
		wave := time.Duration(time.Now().UnixMilli()/100%100) * 100 * time.Microsecond // less and less for ten seconds
		select {
		case <-l.quit:
			return nil
		case <-time.After(rand.N(time.Millisecond + wave)):
		}
	}
	return nil
}
