package main

// This file holds the other kind of load: each request has a connection of its own.

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/cloudwego/netpoll/reliability/internal/good"
)

// visitTime is how long a visitor tries to get its answer.
const visitTime = 500 * time.Millisecond

// The fates of a visitor.
const (
	served    = "served"
	unmade    = "no connection in time" // the backlog is full, and the system drops the SYN
	waiting   = "no answer in time"     // it waited in the backlog, or for a processor
	refused   = "refused"               // the listener is closed
	cut       = "cut off"               // the server closed or reset the connection
	something = "other errors"
)

// visits has the fates of visitors.
type visits struct {
	mu    sync.Mutex // guards the fields below
	fates map[string]int
	times good.Latencies // of the visitors that were served
}

// visitors starts rate visitors per second, for d or until stop is closed. Each sends request and waits for the answer.
func visitors(addr string, request []byte, answer int, rate float64, d time.Duration, stop <-chan struct{}) *visits {
	v := &visits{fates: map[string]int{}}
	ticker := time.NewTicker(turn)
	defer ticker.Stop()
	var under sync.WaitGroup
	defer under.Wait()
	began := time.Now()
	for come := 0; time.Since(began) < d; {
		select {
		case <-stop:
			return v
		case <-ticker.C:
		}
		for ; float64(come) < rate*time.Since(began).Seconds(); come++ {
			under.Go(func() { v.visit(addr, request, answer) })
		}
	}
	return v
}

func (v *visits) visit(addr string, request []byte, answer int) {
	began := time.Now()
	fate := visit(addr, request, answer, began.Add(visitTime))
	v.mu.Lock()
	defer v.mu.Unlock()
	v.fates[fate]++
	if fate == served {
		v.times = append(v.times, time.Since(began))
	}
}

func visit(addr string, request []byte, answer int, end time.Time) (fate string) {
	conn, err := net.DialTimeout("tcp", addr, time.Until(end))
	if err != nil {
		return fateOf(err, unmade)
	}
	defer conn.Close()
	_ = conn.(*net.TCPConn).SetLinger(0) // so that no ports stay in TIME_WAIT
	_ = conn.SetDeadline(end)
	if _, err := conn.Write(request); err != nil {
		return fateOf(err, waiting)
	}
	if _, err := io.ReadFull(conn, make([]byte, answer)); err != nil {
		return fateOf(err, waiting)
	}
	return served
}

func fateOf(err error, late string) string {
	var timeout net.Error
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		return late
	case errors.Is(err, syscall.ECONNREFUSED):
		return refused
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return cut
	}
	return something
}
