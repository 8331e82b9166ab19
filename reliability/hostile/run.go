package main

// This file runs a scenario: the calm before, the attack, and the time after it.

import (
	"errors"
	"fmt"
	"time"

	"github.com/cloudwego/netpoll/reliability/internal/child"
	"github.com/cloudwego/netpoll/reliability/internal/gauge"
	"github.com/cloudwego/netpoll/reliability/internal/good"
	"github.com/cloudwego/netpoll/reliability/internal/victim"
)

const (
	goodConns = 8
	goodRate  = 100 // requests per second on each
	goodSize  = 128 // bytes

	sampleEvery  = 50 * time.Millisecond
	arrivalEvery = 50 * time.Millisecond
	arrivalTime  = time.Minute
	// restWindow is how long an idle server is measured again.
	restWindow = time.Second
	// vainTime is how long an arrival tries to connect while the server is full.
	vainTime = 500 * time.Millisecond

	// returnTime is how long the server may take to be as before. It is long because the machine may be slow.
	returnTime = time.Minute

	// slack is how much memory the server may use in addition to that for its peers, in bytes: pools and garbage.
	slack = 8 * mib
	// rssSlack is the same for resident memory, which includes the program and the pages that the runtime keeps.
	rssSlack = 32 * mib
	// idleCPU is how many processors the requests of the well-behaved clients may use.
	idleCPU = 0.6
	// restSlack is what may be used in addition to the memory of idle peers, for goroutines of the pool.
	restSlack = mib
	// liveSlack is how much may be left at the end, in bytes: tables that have grown, and pools.
	liveSlack = 2 * mib
	// rssLeft is the same for resident memory.
	rssLeft = 32 * mib
	// goroutinesLeft is the same for goroutines: idle ones of the pool.
	goroutinesLeft = 16
	// arrivalConns is how many descriptors arrivals use at a time, with those of connections that are being closed,
	// and with others that are open for a moment.
	arrivalConns = 8
	// The server may log linesPerSecond, and logLines in addition.
	linesPerSecond, logLines = 2, 10
)

// result is the result of a scenario.
type result struct {
	Name  string
	Peers int
	Took  time.Duration // of the attack

	CalmP99, AttackP99, AfterP99 time.Duration // of the well-behaved client
	CalmMax, AttackMax           time.Duration
	Asked                        int // how many requests it sent during the attack
	ArrivalsServed               int
	ArrivalsFailed               int
	ArrivalsP99                  time.Duration

	Before, After victim.State
	Peak          peak
	Resting       int64 // live bytes for each idle peer; 0: not measured
	Bound         bounds
	Return        time.Duration // how long the server took to be as before
	LogLines      int
	CPU           float64 // processors that the server used during the attack
	Counts        map[string]int64
}

// peak has the maximum of each during the attack.
type peak struct{ Heap, RSS, Descriptors, Goroutines, Connections int64 }

// bounds are the limits for this run.
type bounds struct{ Heap, RSS, Descriptors int64 }

// bound returns the limits for that number of peers, given the state before the attack.
func (s scenario) bound(peers int, before victim.State) (b bounds) {
	n, conns := int64(peers), s.conns
	if conns == 0 {
		conns = n
	}
	if s.twice {
		n, conns = 2*n, 2*conns
	}
	if s.conns != 0 {
		n = s.conns
	}
	// The heap may grow to twice the live bytes before a collection begins.
	b.Heap = before.Inside.Live + 2*s.held*n + slack
	b.RSS = before.RSS + 2*s.held*n + rssSlack
	b.Descriptors = before.Descriptors + conns + arrivalConns + victim.LazyDescriptors()
	if s.server.Descriptors != 0 {
		b.Descriptors = int64(s.server.Descriptors)
	}
	return b
}

// slowed returns how many times as long as with package net the well-behaved client waited during the attack.
func (r result) slowed(plain result) float64 {
	return float64(max(r.AttackP99, shortWait)) / float64(max(plain.AttackP99, shortWait))
}

// trial is a scenario while it runs.
type trial struct {
	scenario
	result
	server *victim.Process
	client *good.Client
	broken []error // the checks that have failed
}

// run runs s: d for the attack, and a third of d each for the calm before and after it. The error has all checks that
// have failed.
func (s scenario) run(peers int, d time.Duration) (result, error) {
	server, err := victim.Start(s.server)
	if err != nil {
		return result{}, err
	}
	t := &trial{scenario: s, result: result{Name: s.name, Peers: peers}, server: server}
	err = t.phases(d)
	if t.client != nil {
		t.client.Stop()
	}
	var errorLines []string
	err = errors.Join(err, server.Stop())
	t.LogLines, errorLines = server.Errors()
	lines := logLines + linesPerSecond*int(1+t.Took.Seconds())
	t.hold(t.LogLines <= lines, "%d lines in the log: %q", t.LogLines, errorLines)
	return t.result, errors.Join(append(t.broken, err)...)
}

// hold records a failed check unless ok.
func (t *trial) hold(ok bool, format string, args ...any) {
	if !ok {
		t.broken = append(t.broken, fmt.Errorf(t.name+": "+format, args...))
	}
}

func (t *trial) phases(d time.Duration) (err error) {
	if t.client, err = good.Start(t.server.Addr, goodConns, goodRate, goodSize); err != nil {
		return err
	}
	wait(d / 6) // so that everything is warmed up
	_, _ = t.client.Phase()
	wait(d / 3)
	calm, err := t.client.Phase()
	if err != nil {
		return err
	}
	t.CalmP99, t.CalmMax = calm.Percentile(99), calm.Percentile(100)
	if t.Before, err = t.server.Read(true); err != nil {
		return err
	}
	t.Bound = t.bound(t.Peers, t.Before)
	if err := t.attacked(d); err != nil {
		return err
	}
	if !t.scenario.server.Plain {
		if err := t.returned(); err != nil {
			return err
		}
	}
	// Not earlier, because answers to requests of the attack may come after it.
	latencies, lost := t.client.Phase()
	t.AttackP99, t.AttackMax, t.Asked = latencies.Percentile(99), latencies.Percentile(100), len(latencies)
	t.hold(lost == nil, "the well-behaved client: %v", lost)
	wait(d / 3)
	after, err := t.client.Phase()
	if err != nil {
		return err
	}
	t.AfterP99 = after.Percentile(99)
	return nil
}

// attacked runs the attack, and arrivals at the same time.
func (t *trial) attacked(d time.Duration) error {
	target := t.server.Addr
	if t.scenario.server.TLS {
		target = t.server.TLSAddr
	}
	attacker, err := child.Start(attackerRole, order{t.scenario.name, target, t.Peers})
	if err != nil {
		return err
	}
	begun := make(chan error, 1)
	go func() {
		var p progress
		begun <- attacker.Receive(&p)
	}()
	patience := arrivalTime
	if t.full {
		patience = vainTime
	}
	arrivals := good.StartArrivals(t.server.Addr, arrivalEvery, patience)
	err = t.watch(d, begun)
	arrivals.Stop()
	served, failed := arrivals.Phase()
	t.ArrivalsServed, t.ArrivalsFailed, t.ArrivalsP99 = len(served), failed, served.Percentile(99)
	if err == nil && t.rest > 0 {
		err = t.resting()
	}
	attacker.End()
	var p progress
	err = errors.Join(err, attacker.Receive(&p), attacker.Stop())
	t.Counts = p.Counts
	t.hold(t.full || failed == 0, "%d arrivals were not served", failed)
	t.hold(t.full || len(served) > 0, "no arrival was served")
	return err
}

// watch samples the server until d after the value of begun, which says that the whole attack has begun.
func (t *trial) watch(d time.Duration, begun chan error) error {
	ticker := time.NewTicker(sampleEvery)
	defer ticker.Stop()
	var full time.Time // when the whole attack had begun
	var since victim.State
	began := time.Now()
	for full.IsZero() || time.Since(full) < d {
		if full.IsZero() && time.Since(began) > returnTime {
			return fmt.Errorf("%s: has not begun after %v", t.name, returnTime)
		}
		select {
		case err := <-begun:
			if err != nil {
				return err
			}
			full = time.Now()
			_, _ = t.client.Phase()
			if since, err = t.server.Read(false); err != nil {
				return err
			}
		case <-ticker.C:
			if err := t.sample(); err != nil {
				return err
			}
		}
	}
	t.Took = time.Since(full)
	end, err := t.server.Read(false)
	t.CPU = (end.CPU - since.CPU).Seconds() / t.Took.Seconds()
	// On a slow machine the server may need longer before its peers are idle. A server that spins never gets idle.
	for t.idle && err == nil && t.CPU > idleCPU && time.Since(full) < returnTime {
		began, since := time.Now(), end
		<-time.After(restWindow)
		end, err = t.server.Read(false)
		t.CPU = (end.CPU - since.CPU).Seconds() / time.Since(began).Seconds()
	}
	t.hold(!t.idle || t.CPU <= idleCPU, "%.2f processors are busy with nothing", t.CPU)
	t.within("heap", t.Peak.Heap, t.Bound.Heap)
	if !gauge.RaceDetector() {
		t.within("resident memory", t.Peak.RSS, t.Bound.RSS)
	}
	t.within("descriptors", t.Peak.Descriptors, t.Bound.Descriptors)
	return err
}

func (t *trial) within(what string, peak, bound int64) {
	t.hold(peak <= bound, "%s: %d, the bound is %d", what, peak, bound)
}

func (t *trial) sample() error {
	s, err := t.server.Read(false)
	p := &t.Peak
	p.Heap = max(p.Heap, s.Inside.Heap+s.Inside.Stacks)
	p.RSS = max(p.RSS, s.RSS)
	p.Descriptors = max(p.Descriptors, s.Descriptors)
	p.Goroutines = max(p.Goroutines, s.Inside.Goroutines)
	p.Connections = max(p.Connections, s.Connections)
	return err
}

// resting measures how much memory the server holds for idle peers. It waits up to returnTime, because on a busy machine
// the server may still be serving earlier requests.
func (t *trial) resting() error {
	ticker := time.NewTicker(restWindow)
	defer ticker.Stop()
	for began := time.Now(); ; <-ticker.C {
		s, err := t.server.Read(true)
		if err != nil {
			return err
		}
		idle := s.Connections - t.Before.Connections
		more := s.Inside.Live + s.Inside.Stacks - t.Before.Inside.Live - t.Before.Inside.Stacks
		small := more <= idle*t.rest+restSlack
		if !small && time.Since(began) < returnTime {
			continue
		}
		t.hold(idle >= int64(t.Peers)*9/10, "%d of %d peers are connected", idle, t.Peers)
		t.Resting = more / max(idle, 1)
		t.hold(small, "an idle peer costs %d bytes, the limit is %d", t.Resting, t.rest)
		return nil
	}
}

// returned waits until the server is as it was before.
func (t *trial) returned() (err error) {
	began := time.Now()
	ticker := time.NewTicker(2 * sampleEvery)
	defer ticker.Stop()
	for left := []string{"?"}; len(left) > 0; <-ticker.C {
		if t.After, err = t.server.Read(true); err != nil {
			return err
		}
		t.Return = time.Since(began)
		if left = t.left(); len(left) > 0 && t.Return > returnTime {
			t.hold(false, "not as before after %v: %v", returnTime, left)
			break
		}
	}
	err = good.VisitTogether(t.server.Addr, t.places(), returnTime)
	t.hold(err == nil, "arrivals after the attack: %v", err)
	return nil
}

// places returns how many arrivals must be served at once after the attack: as many as the server's limit allows, or one
// if it has no limit.
func (t *trial) places() int {
	switch {
	case t.scenario.server.Descriptors != 0:
		return t.scenario.server.Descriptors - int(t.Before.Descriptors+victim.LazyDescriptors())
	case t.full:
		return most - goodConns
	}
	return 1
}

// left lists what is not as it was before.
func (t *trial) left() (list []string) {
	check := func(what string, before, after, more int64) {
		if after > before+more {
			list = append(list, fmt.Sprintf("%s: %d, before: %d", what, after, before))
		}
	}
	b, a := t.Before, t.After
	check("connections", b.Connections, a.Connections, 0)
	check("descriptors", b.Descriptors, a.Descriptors, victim.LazyDescriptors())
	check("goroutines", b.Inside.Goroutines, a.Inside.Goroutines, goroutinesLeft)
	check("live heap", b.Inside.Live, a.Inside.Live, liveSlack)
	if !gauge.RaceDetector() {
		check("resident memory", b.RSS, a.RSS, rssLeft)
	}
	return list
}

func wait(d time.Duration) { <-time.After(d) }
