package main

// This file holds the load: requests that are due at a fixed rate, whether the server keeps up or not.

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/reliability/internal/good"
	"github.com/cloudwego/netpoll/reliability/internal/peer"
)

// turn is how often the load looks at its clock and its sockets. Latencies are exact to this.
const turn = time.Millisecond

// sendBuffer is that of the load's sockets. It is small, so that what does not reach the server is seen soon.
const sendBuffer = 16 << 10

// load sends copies of one request over several connections. One goroutine at a time may use it.
type load struct {
	request []byte
	answer  int // bytes of an answer
	conns   []*loadConn
	next    int
	buf     [64 << 10]byte

	// What happened since the last call of phase.
	offered   int // requests that were due
	held      int // of them, those that the full socket held back: they were never sent
	latencies good.Latencies
}

// loadConn is one connection.
type loadConn struct {
	fd      int
	pending []byte      // the rest of a request that the socket did not take whole
	due     []time.Time // of those that have no answer yet
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

// run keeps up rate requests per second until stop is closed or d has passed.
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

// saturate has a few requests under way on each connection, all the time, and returns how many were answered in a
// second.
func (l *load) saturate(d time.Duration) (rate float64, err error) {
	ticker := time.NewTicker(turn / 4)
	defer ticker.Stop()
	l.phase()
	began := time.Now()
	for time.Since(began) < d || len(l.latencies) < 10*len(l.conns) && time.Since(began) < patience {
		for _, c := range l.conns {
			// A few: this loop sleeps between its turns.
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

// finish sends the rest of each request that has begun, and no other, until the server has ended every connection or
// stop is closed.
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

// offer sends a request on the connection whose turn it is.
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

// push sends what is pending.
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

// collect takes the answers that have arrived.
func (l *load) collect() error {
	for _, c := range l.conns {
		if err := l.serve(c); err != nil {
			return err
		}
	}
	return nil
}

// serve sends what is pending of c and takes the answers that have arrived there.
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

// phase returns what happened since the last call.
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

// phase is what became of the requests of a while.
type phase struct {
	Offered, Held, Answered int
	P50, P99                time.Duration
}
