package main

// This file holds the load: requests that are due at a fixed rate, whether or not the server keeps up.

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/reliability/internal/good"
	"github.com/cloudwego/netpoll/reliability/internal/peer"
)

// turn is how often the load reads its clock and polls its sockets. It is the resolution of latencies.
const turn = time.Millisecond

// sendBuffer is SO_SNDBUF of the load's sockets. It is small, so that it fills soon when the server does not read.
const sendBuffer = 16 << 10

// load sends copies of one request over several connections. One goroutine at a time may use it.
type load struct {
	request []byte
	answer  int // bytes of an answer
	conns   []*loadConn
	next    int
	buf     [64 << 10]byte

	// Counts since the last call of phase.
	offered   int // requests that were due
	held      int // of these, requests that were never sent, because the socket was full
	latencies good.Latencies
}

// loadConn is one connection.
type loadConn struct {
	fd      int
	pending []byte      // the rest of a request of which the socket took only a part
	due     []time.Time // when the requests without an answer were due
	partly  int         // bytes of the next answer that have arrived
}

func newLoad(addr string, n int, request []byte, answer int) (*load, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, err
	}
	l := &load{request: request, answer: answer}
	for range n {
		fd, err := peer.Dial(to, peer.Options{SendBuffer: sendBuffer})
		if err != nil {
			l.close()
			return nil, err
		}
		l.conns = append(l.conns, &loadConn{fd: fd})
	}
	return l, nil
}

// run offers rate requests per second until stop is closed or d has passed.
func (l *load) run(rate float64, d time.Duration, stop <-chan struct{}) error {
	ticker := time.NewTicker(turn)
	defer ticker.Stop()
	began := time.Now()
	for sent := 0; time.Since(began) < d; {
		select {
		case <-stop:
			return nil
		case <-ticker.C:
		}
		for ; float64(sent) < rate*time.Since(began).Seconds(); sent++ {
			due := began.Add(time.Duration(float64(sent) / rate * float64(time.Second)))
			if err := l.offer(due); err != nil {
				return err
			}
		}
		if err := l.collect(); err != nil {
			return err
		}
	}
	return nil
}

// saturate keeps a few requests under way on each connection, and returns how many were answered per second.
func (l *load) saturate(d time.Duration) (rate float64, err error) {
	ticker := time.NewTicker(turn / 4)
	defer ticker.Stop()
	l.phase()
	began := time.Now()
	for time.Since(began) < d || len(l.latencies) < 10*len(l.conns) && time.Since(began) < patience {
		for _, c := range l.conns {
			// Several requests, because this loop sleeps between its turns.
			for sent := true; sent && len(c.due) < 4; {
				if sent, err = l.send(c, time.Now()); err != nil {
					return 0, err
				}
			}
		}
		<-ticker.C
		if err = l.collect(); err != nil {
			return 0, err
		}
	}
	took := time.Since(began)
	rate = float64(len(l.latencies)) / took.Seconds()
	err = l.drain(d)
	l.phase()
	return rate, err
}

// finish sends the rest of requests that are sent in part, and no new ones, until the server has closed every connection
// or stop is closed.
func (l *load) finish(stop <-chan struct{}) {
	ticker := time.NewTicker(turn)
	defer ticker.Stop()
	open := slices.Clone(l.conns)
	for len(open) > 0 {
		open = slices.DeleteFunc(open, func(c *loadConn) bool { return l.serve(c) != nil })
		select {
		case <-stop:
			return
		case <-ticker.C:
		}
	}
}

// offer sends a request on the next connection, in turn.
func (l *load) offer(due time.Time) error {
	c := l.conns[l.next%len(l.conns)]
	l.next++
	l.offered++
	sent, err := l.send(c, due)
	if err == nil && !sent {
		l.held++
	}
	return err
}

// send sends a request, unless the socket is full.
func (l *load) send(c *loadConn, due time.Time) (sent bool, err error) {
	if err := c.push(); err != nil || len(c.pending) > 0 {
		return false, err
	}
	n, err := peer.Send(c.fd, l.request)
	if err != nil || n == 0 {
		return false, err
	}
	c.pending = l.request[n:]
	c.due = append(c.due, due)
	return true, nil
}

// push sends pending bytes until the socket is full.
func (c *loadConn) push() error {
	for len(c.pending) > 0 {
		n, err := peer.Send(c.fd, c.pending)
		if err != nil || n == 0 {
			return err
		}
		c.pending = c.pending[n:]
	}
	return nil
}

// collect receives the answers that have arrived on all connections.
func (l *load) collect() error {
	for _, c := range l.conns {
		if err := l.serve(c); err != nil {
			return err
		}
	}
	return nil
}

// serve sends pending bytes of c and receives the answers that have arrived there.
func (l *load) serve(c *loadConn) error {
	if err := c.push(); err != nil {
		return err
	}
	for {
		n, err := peer.Receive(c.fd, l.buf[:])
		if err != nil {
			return err
		}
		for c.partly += n; c.partly >= l.answer; c.partly -= l.answer {
			if len(c.due) == 0 {
				return fmt.Errorf("an answer that nobody asked for")
			}
			l.latencies = append(l.latencies, time.Since(c.due[0]))
			c.due = c.due[1:]
		}
		if n < len(l.buf) {
			return nil
		}
	}
}

// drain waits until every request that was sent has its answer.
func (l *load) drain(most time.Duration) error {
	ticker := time.NewTicker(turn)
	defer ticker.Stop()
	began := time.Now()
	for {
		if err := l.collect(); err != nil {
			return err
		}
		open := 0
		for _, c := range l.conns {
			open += len(c.due)
		}
		if open == 0 {
			return nil
		}
		if time.Since(began) > most+patience {
			return fmt.Errorf("%d requests have no answer after %v", open, time.Since(began))
		}
		<-ticker.C
	}
}

// phase returns the counts and latencies since the last call.
func (l *load) phase() (p phase) {
	p = phase{Offered: l.offered, Held: l.held, Answered: len(l.latencies),
		P50: l.latencies.Percentile(50), P99: l.latencies.Percentile(99)}
	l.offered, l.held, l.latencies = 0, 0, nil
	return p
}

func (l *load) close() {
	for _, c := range l.conns {
		unix.Close(c.fd)
	}
}

// phase says what happened to the requests of a phase.
type phase struct {
	Offered, Held, Answered int
	P50, P99                time.Duration
}
