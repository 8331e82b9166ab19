package main

// This file holds the three trials: requests above capacity, arrivals above capacity, and Shutdown during overload.

import (
	"errors"
	"fmt"
	"time"

	"github.com/cloudwego/netpoll/reliability/internal/victim"
)

const (
	conns     = 16
	requests  = 16 << 10 // bytes of a request, and of its answer
	rounds    = 10_000   // of work for each request
	readLimit = 64 << 10

	normal = 0.2 // of capacity
	excess = 3

	// leastRate is the minimum rate of the overload: on a busy machine the measured capacity may be too small.
	leastRate = 1000

	// visitorRate is the rate of arrivals, in addition to the load, while the server is shut down. visitorConns is how
	// many of their connections the server may have at a time: each arrival tries for half a second, and its connection
	// counts until the server has noticed that it has closed.
	visitorRate, visitorConns = 50, 200

	places  = 32 // the connection limit in the trial of arrivals
	backlog = 32

	// patience is how long to wait for events that must happen, on a slow machine.
	patience = time.Minute

	sampleEvery = 50 * time.Millisecond

	// heapSlack is how much the server may use in addition to the memory for its connections, in bytes.
	heapSlack = 8 << 20
	// liveSlack and goroutinesLeft are how much may be left afterwards.
	liveSlack      = 2 << 20
	goroutinesLeft = 16
)

// result is the result of one trial.
type result struct {
	Name             string
	Capacity         float64 // requests per second
	Rate             float64 // offered
	Normal, Over     phase
	Recovered        phase
	Drained          time.Duration // from the end of the load to the last answer
	Fates, Later     map[string]int
	FatesP99         time.Duration
	LaterP99         time.Duration
	Before, After    victim.State
	Heap, RSS        int64 // at most
	Bound            int64 // on Heap
	Goroutines       int64 // at most
	Descriptors      int64 // at most
	Connections      int64 // at most
	Down             victim.Answer
	RefusedAfterDown bool
}

// trial is a trial while it runs.
type trial struct {
	result
	server *victim.Process
	broken []error
}

// hold records a failed check unless ok.
func (t *trial) hold(ok bool, format string, args ...any) {
	if !ok {
		t.broken = append(t.broken, fmt.Errorf(t.Name+": "+format, args...))
	}
}

// run runs one trial against a server of its own.
func run(name string, config victim.Config, body func(t *trial) error) (result, error) {
	server, err := victim.Start(config)
	if err != nil {
		return result{}, err
	}
	t := &trial{result: result{Name: name}, server: server}
	err = errors.Join(body(t), server.Stop())
	return t.result, errors.Join(append(t.broken, err)...)
}

// request makes a request for work.
func request() []byte { return victim.Ask('w', rounds, requests) }

// sampled runs f, and samples the server meanwhile.
func (t *trial) sampled(f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	ticker := time.NewTicker(sampleEvery)
	defer ticker.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-ticker.C:
		}
		s, err := t.server.Read(false)
		if err != nil {
			return errors.Join(err, <-done)
		}
		t.Heap = max(t.Heap, s.Inside.Heap+s.Inside.Stacks)
		t.RSS = max(t.RSS, s.RSS)
		t.Goroutines = max(t.Goroutines, s.Inside.Goroutines)
		t.Descriptors = max(t.Descriptors, s.Descriptors)
		t.Connections = max(t.Connections, s.Connections)
	}
}

// begin records the state of the server without load, and returns a load.
func (t *trial) begin() (l *load, err error) {
	if t.Before, err = t.server.Read(true); err != nil {
		return nil, err
	}
	return newLoad(t.server.Addr, conns, request(), requests)
}

// tooManyRequests offers more requests, on a few connections, than the server can answer.
func tooManyRequests(t *trial, d time.Duration) (err error) {
	l, err := t.begin()
	if err != nil {
		return err
	}
	defer l.close()
	if t.Capacity, err = l.saturate(d / 3); err != nil {
		return err
	}
	if t.Normal, err = l.quiet(t.Capacity*normal, d/3); err != nil {
		return err
	}
	t.Rate = max(t.Capacity*excess, leastRate)
	if err := t.sampled(func() error { return t.overrun(l, d) }); err != nil {
		return err
	}
	ended := time.Now()
	if err := l.drain(d); err != nil {
		return err
	}
	t.Drained = time.Since(ended)
	t.Over = l.phase()
	if t.Recovered, err = l.quiet(t.Capacity*normal, d/3); err != nil {
		return err
	}
	t.hold(t.Over.Answered > 0, "nothing was answered")
	t.hold(t.Over.Held > 0, "nothing was held back")
	t.hold(t.Over.Answered+t.Over.Held == t.Over.Offered, "%d offered, %d answered, %d held back", t.Over.Offered,
		t.Over.Answered, t.Over.Held)
	t.bounded(conns, readLimit+4*requests)
	l.close()
	l.conns = nil
	return t.returned()
}

// overrun runs l for d. If no request was held back by then, it doubles the rate and runs l again: socket buffers have
// much room, and the real capacity may be greater than the measured one.
func (t *trial) overrun(l *load, d time.Duration) error {
	for began := time.Now(); ; t.Rate *= 2 {
		if err := l.run(t.Rate, d, nil); err != nil {
			return err
		}
		if l.held > 0 || time.Since(began) > patience {
			return nil
		}
	}
}

// quiet runs l for d at a rate below capacity.
func (l *load) quiet(rate float64, d time.Duration) (phase, error) {
	l.phase()
	if err := l.run(rate, d, nil); err != nil {
		return phase{}, err
	}
	err := l.drain(d)
	return l.phase(), err
}

// tooManyArrivals offers each request on a connection of its own, to a server with a low connection limit and a short
// backlog.
func tooManyArrivals(t *trial, d time.Duration) (err error) {
	l, err := t.begin()
	if err != nil {
		return err
	}
	t.Capacity, err = l.saturate(d / 3)
	l.close()
	if err != nil {
		return err
	}
	t.Rate = min(max(t.Capacity*excess, leastRate), 10_000) // so that the ports of one address suffice
	var v *visits
	err = t.sampled(func() error {
		v = visitors(t.server.Addr, request(), requests, t.Rate, d, nil)
		return nil
	})
	if err != nil {
		return err
	}
	t.Fates, t.FatesP99 = v.fates, v.times.Percentile(99)
	t.hold(t.Fates[served] > 0, "nobody was served: %v", t.Fates)
	t.hold(t.Fates[unmade]+t.Fates[waiting] > 0, "nobody had to wait: %v", t.Fates)
	t.hold(t.Fates[refused]+t.Fates[something] == 0, "%v", t.Fates)
	t.hold(t.Connections <= places, "%d connections, the bound is %d", t.Connections, places)
	t.bounded(places, readLimit+4*requests)
	if err := t.returned(); err != nil {
		return err
	}
	v = visitors(t.server.Addr, request(), requests, min(t.Capacity*normal/4, 100), d/3, nil)
	t.Later, t.LaterP99 = v.fates, v.times.Percentile(99)
	t.hold(t.Later[served] > 0, "nobody is served afterwards: %v", t.Later)
	return nil
}

// shutDown calls Shutdown while both kinds of load are running.
func shutDown(t *trial, d time.Duration) (err error) {
	l, err := t.begin()
	if err != nil {
		return err
	}
	defer l.close()
	if t.Capacity, err = l.saturate(d / 3); err != nil {
		return err
	}
	t.Rate = max(t.Capacity*excess, leastRate)
	stop, loaded, come := make(chan struct{}), make(chan struct{}), make(chan *visits, 1)
	go func() {
		defer close(loaded)
		_ = l.run(t.Rate, time.Hour, stop) // returns an error when the server closes the first connection
		l.finish(stop)
	}()
	go func() {
		come <- visitors(t.server.Addr, request(), requests, visitorRate, time.Hour, stop)
	}()
	<-time.After(d / 2)
	busy, err := t.server.Read(false)
	if err == nil {
		err = t.server.Ask(victim.Question{Shutdown: patience}, &t.Down)
	}
	fate := visit(t.server.Addr, request(), requests, time.Now().Add(patience))
	close(stop)
	<-loaded
	v := <-come
	t.Fates, t.FatesP99 = v.fates, v.times.Percentile(99)
	if err != nil {
		return err
	}
	t.RefusedAfterDown = fate == refused
	t.Over = l.phase()
	t.Heap, t.RSS, t.Descriptors = busy.Inside.Heap+busy.Inside.Stacks, busy.RSS, busy.Descriptors
	t.Goroutines, t.Connections = busy.Inside.Goroutines, busy.Connections
	t.bounded(conns+visitorConns, readLimit+4*requests)
	t.hold(t.RefusedAfterDown, "an arrival after Shutdown: %s", fate)
	t.hold(t.Down.Served, "Serve did not return nil")
	t.hold(t.Down.Shutdown == "", "%s, with so many bytes to read: %v", t.Down.Shutdown, t.Down.Busy)
	l.close()
	l.conns = nil
	return t.returned()
}

// bounded checks that the server stayed within the limits for n connections, with each bytes for one.
func (t *trial) bounded(n, each int64) {
	t.Bound = t.Before.Inside.Live + 2*n*each + heapSlack
	t.hold(t.Heap <= t.Bound, "heap: %d, the bound is %d", t.Heap, t.Bound)
	t.hold(t.Descriptors <= t.Before.Descriptors+n+victim.LazyDescriptors(),
		"descriptors: %d, before: %d, connections: %d", t.Descriptors, t.Before.Descriptors, n)
}

// returned waits until the server is as it was before.
func (t *trial) returned() (err error) {
	ticker := time.NewTicker(sampleEvery)
	defer ticker.Stop()
	for began := time.Now(); ; <-ticker.C {
		if t.After, err = t.server.Read(true); err != nil {
			return err
		}
		a, b := t.After, t.Before
		if a.Connections == 0 && a.Descriptors <= b.Descriptors+victim.LazyDescriptors() &&
			a.Inside.Goroutines <= b.Inside.Goroutines+goroutinesLeft && a.Inside.Live <= b.Inside.Live+liveSlack {
			return nil
		}
		if time.Since(began) > patience {
			return fmt.Errorf("not as before after %v: %+v, before: %+v", patience, a, b)
		}
	}
}
