// Package good is the well-behaved client. It sends requests at a steady rate on connections that it keeps, and checks
// every answer. It measures latency from the moment a request was due, so that a stall of the server counts for all
// requests that were due meanwhile.
package good

// This file holds the client.

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/cloudwego/netpoll/reliability/internal/victim"
)

// patience is how long an answer may take before it counts as failed.
const patience = 20 * time.Second

// Latencies are the latencies of the requests of one phase, in no particular order.
type Latencies []time.Duration

// Percentile returns the latency that p percent of the requests did not exceed, or 0 if there are none. It sorts l.
func (l Latencies) Percentile(p float64) time.Duration {
	if len(l) == 0 {
		return 0
	}
	slices.Sort(l)
	return l[min(len(l)-1, int(float64(len(l))*p/100))]
}

// Client sends steady requests on a number of connections.
type Client struct {
	stop    chan struct{}
	running sync.WaitGroup

	mu    sync.Mutex // guards the fields below
	since time.Time  // when the phase began
	phase Latencies
	err   error // the error of the first connection that failed
}

// Start connects and begins to send rate requests per second, of size bytes, on each of n connections.
func Start(addr string, n, rate, size int) (*Client, error) {
	c := &Client{stop: make(chan struct{})}
	interval := time.Second / time.Duration(rate)
	for i := range n {
		conn, err := net.DialTimeout("tcp", addr, patience)
		if err != nil {
			c.Stop()
			return nil, err
		}
		first := time.Now().Add(interval * time.Duration(i) / time.Duration(n))
		c.running.Go(func() {
			defer conn.Close()
			if err := c.ask(conn, first, interval, size); err != nil {
				c.fail(fmt.Errorf("connection %d: %w", i, err))
			}
		})
	}
	return c, nil
}

// ask sends requests until Stop.
func (c *Client) ask(conn net.Conn, due time.Time, interval time.Duration, size int) error {
	body := bytes.Repeat([]byte{'e'}, size)
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	for number := byte(0); ; number++ {
		select {
		case <-c.stop:
			return nil
		case <-timer.C:
		}
		body[size-1] = number
		if err := Exchange(conn, body, patience); err != nil {
			return err
		}
		c.note(due)
		due = due.Add(interval)
		timer.Reset(time.Until(due))
	}
}

// Exchange sends a body that asks for an echo, and checks the answer.
func Exchange(conn net.Conn, body []byte, within time.Duration) error {
	if err := conn.SetDeadline(time.Now().Add(within)); err != nil {
		return err
	}
	frame := victim.Frame(body)
	if _, err := conn.Write(frame); err != nil {
		return err
	}
	answer := make([]byte, len(frame))
	if _, err := io.ReadFull(conn, answer); err != nil {
		return err
	}
	if !bytes.Equal(frame, answer) {
		return errors.New("the answer is not that of the request")
	}
	return nil
}

// note records the latency of a request if it was due in the current phase.
func (c *Client) note(due time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !due.Before(c.since) {
		c.phase = append(c.phase, time.Since(due))
	}
}

func (c *Client) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
	}
}

// Phase begins a phase. It returns the latencies of the last one, and the first error since Start.
func (c *Client) Phase() (Latencies, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.phase
	c.phase, c.since = nil, time.Now()
	return l, c.err
}

// Stop stops the client and returns when its connections are closed.
func (c *Client) Stop() {
	close(c.stop)
	c.running.Wait()
}

// Arrivals dial again and again, for one exchange each.
type Arrivals struct {
	stop chan struct{}
	done chan struct{}

	mu     sync.Mutex // guards the fields below
	phase  Latencies
	failed int
}

// StartArrivals begins to dial, once per interval, but not while the attempt before is still under way. It gives up an
// attempt after within.
func StartArrivals(addr string, interval, within time.Duration) *Arrivals {
	n := &Arrivals{stop: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(n.done)
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for {
			select {
			case <-n.stop:
				return
			case <-ticker.C:
				began := time.Now()
				n.note(began, Visit(addr, within))
			}
		}
	}()
	return n
}

// Visit dials for one exchange.
func Visit(addr string, within time.Duration) error {
	end := time.Now().Add(within)
	conn, err := net.DialTimeout("tcp", addr, within)
	if err != nil {
		return err
	}
	defer conn.Close()
	return Exchange(conn, []byte("e, and thanks"), time.Until(end))
}

// VisitTogether makes n visits. Their connections are open at the same time.
func VisitTogether(addr string, n int, within time.Duration) error {
	end := time.Now().Add(within)
	for i := range n {
		conn, err := net.DialTimeout("tcp", addr, time.Until(end))
		if err == nil {
			defer conn.Close()
			err = Exchange(conn, []byte("e, and thanks"), time.Until(end))
		}
		if err != nil {
			return fmt.Errorf("visitor %d of %d: %w", i+1, n, err)
		}
	}
	return nil
}

func (n *Arrivals) note(began time.Time, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err != nil {
		n.failed++
		return
	}
	n.phase = append(n.phase, time.Since(began))
}

// Phase returns the latencies of the served arrivals, and the number of failed ones, since the last call.
func (n *Arrivals) Phase() (served Latencies, failed int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	served, failed = n.phase, n.failed
	n.phase, n.failed = nil, 0
	return served, failed
}

// Stop stops dialing, and waits for the attempt under way.
func (n *Arrivals) Stop() {
	close(n.stop)
	<-n.done
}
