package run

// This file holds the measurement of servers by the load generator.

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/bench/internal/load"
	"github.com/cloudwego/netpoll/bench/internal/machine"
	"github.com/cloudwego/netpoll/bench/internal/plan"
	"github.com/cloudwego/netpoll/bench/internal/stat"
)

// mark is what is noted at one end of the window.
type mark struct {
	at    time.Time
	usage machine.Usage
	own   int64 // processor time of this process, ns
	pid   int64 // processor time of the measured process, ns
	err   error
}

// note takes a mark, and asks the process for a reading that is fetched later.
func note(p *process) (m mark) {
	var errs [4]error
	m.at = time.Now()
	m.pid, errs[0] = machine.ProcessTime(p.cmd.Process.Pid)
	m.own, errs[1] = machine.ProcessTime(os.Getpid())
	m.usage, errs[2] = machine.ReadUsage()
	errs[3] = p.send(stat.Read)
	m.err = errors.Join(errs[:]...)
	return m
}

// account puts what happened between two marks, and the two readings that belong to them, into s.
func (s *Sample) account(a, b mark, before, after stat.Reading) {
	wall := float64(b.at.Sub(a.at))
	used := b.pid - a.pid
	s.Used = float64(used) / wall
	// The process answers when it comes to it, so what it counts is scaled from its own interval to the window's.
	scale := wall / float64(after.Monotonic-before.Monotonic)
	s.counts(before, after, scale)
	if s.Requests > 0 {
		s.CPU = micros(used) / float64(s.Requests)
	}
	busy := float64(b.usage.Busy - a.usage.Busy)
	s.Other = max(0, busy-float64(used)-float64(b.own-a.own)) / wall
	s.Stolen = float64(b.usage.Stolen-a.usage.Stolen) / wall
	s.Disturbed = s.Other > disturbance || s.Stolen > disturbance
}

// settle records the memory of a process that has nothing to do.
func (s *Sample) settle(r stat.Reading) {
	s.RSS, s.Heap, s.Goroutines = r.RSS, r.HeapObjects+r.Stacks, r.Goroutines
}

// serverOf starts the server of a subject for a scenario.
func (r *Runner) serverOf(sub plan.Subject, sc plan.Scenario) (*process, netip.AddrPort, error) {
	return startServer(r.commandOf(sub, sc), sub.Env, r.serverCPUs(sc))
}

// commandOf is the command line of that server.
func (r *Runner) commandOf(sub plan.Subject, sc plan.Scenario) []string {
	command := append([]string{r.programs.of(sub)}, sub.Args...)
	command = append(command, "-loops", strconv.Itoa(sc.LoopsOf(sub.Name)))
	if sc.Work != "" {
		command = append(command, "-work", sc.Work)
	}
	return command
}

// startServer starts a server by its command line, and finds out its address.
func startServer(command, env []string, cpus []int) (*process, netip.AddrPort, error) {
	p, err := start(command[0], command[1:], env, cpus)
	if err != nil {
		return nil, netip.AddrPort{}, err
	}
	addr, err := netip.ParseAddrPort(p.addr)
	if err != nil {
		return nil, addr, errors.Join(err, p.stop())
	}
	return p, addr, nil
}

// echo measures a server that answers requests.
func (r *Runner) echo(sub plan.Subject, sc plan.Scenario, rate float64) (s Sample, err error) {
	p, addr, err := r.serverOf(sub, sc)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	var a, b mark
	g, err := load.Open(load.Spec{
		Addr: addr, Conns: sc.Conns, Active: sc.Active, Size: sc.Size, Depth: sc.Depth, Rate: rate,
		HTTP: sc.Kind == plan.HTTP || sc.Kind == plan.Hertz, Reconnect: sc.Reconnect,
		Warmup: r.Length.Warmup, Window: r.Length.Window, Plain: r.PlainGenerator,
		Begin: func() { a = note(p) }, End: func() { b = note(p) },
	})
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, g.Close()) }()
	res, err := g.Run()
	if err = errors.Join(err, a.err, b.err); err != nil {
		return s, err
	}
	if res.Requests == 0 {
		return s, errors.New("no request was answered")
	}
	before, err1 := p.answer()
	after, err2 := p.answer()
	settled, err3 := p.ask(stat.Collect)
	if err = errors.Join(err1, err2, err3); err != nil {
		return s, err
	}
	s = latencies(res)
	s.Offered = rate
	s.account(a, b, before, after)
	s.settle(settled)
	return s, nil
}

// latencies puts what the generator saw into a sample.
func latencies(res *load.Result) Sample {
	h := res.Latency
	q := func(p float64) float64 { return micros(h.ValueAtQuantile(p)) }
	return Sample{
		Requests:   res.Requests,
		Throughput: float64(res.Requests) / res.Elapsed.Seconds(),
		P50:        q(50), P90: q(90), P99: q(99), P999: q(99.9), Max: micros(h.Max()),
		LagP99:     micros(res.Lag.ValueAtQuantile(99)),
		Unanswered: res.Unanswered,
		ClientCPU:  res.ClientCPU, ClientBusy: res.ClientBusy,
	}
}

// quietTime is for how long a server must have used (nearly) no processor time to count as settled.
const quietTime = 60 * time.Millisecond

// idle measures a server that has connections and no requests.
func (r *Runner) idle(sub plan.Subject, sc plan.Scenario) (s Sample, err error) {
	p, addr, err := r.serverOf(sub, sc)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	empty, err := p.ask(stat.Collect)
	if err != nil {
		return s, err
	}
	g, err := load.Open(load.Spec{Addr: addr, Conns: sc.Conns, Size: sc.Size, Window: r.Length.Window, Plain: true})
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, g.Close()) }()
	return r.rest(p, empty, sc.Conns)
}

// rest measures a server whose connections, conns in number, have nothing to do. empty is what it used without them.
func (r *Runner) rest(p *process, empty stat.Reading, conns int) (s Sample, err error) {
	if err := awaitQuiet(p); err != nil {
		return s, err
	}
	full, err := p.ask(stat.Collect)
	if err != nil {
		return s, err
	}
	a := note(p)
	<-time.After(r.Length.Window)
	b := note(p)
	before, err1 := p.answer()
	after, err2 := p.answer()
	if err := errors.Join(a.err, b.err, err1, err2); err != nil {
		return s, err
	}
	s.account(a, b, before, after)
	s.settle(full)
	if n := float64(conns); n > 0 {
		s.PerConnRSS = float64(full.RSS-empty.RSS) / n
		s.PerConnHeap = float64(full.HeapObjects+full.Stacks-empty.HeapObjects-empty.Stacks) / n
	}
	return s, nil
}

// awaitQuiet waits until the process has accepted what there is, and rests.
func awaitQuiet(p *process) error {
	for range 200 {
		a, err := machine.ProcessTime(p.cmd.Process.Pid)
		if err != nil {
			return err
		}
		<-time.After(quietTime)
		b, err := machine.ProcessTime(p.cmd.Process.Pid)
		if err != nil {
			return err
		}
		if b-a < int64(quietTime)/50 {
			return nil
		}
	}
	return fmt.Errorf("the server does not come to rest: %w", unix.ETIMEDOUT)
}
