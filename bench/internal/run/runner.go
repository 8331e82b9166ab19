package run

// This file holds the order of runs: every subject of a scenario in turn, and the same again for each repetition. So a
// machine that is slow for a while is slow for all subjects.

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/cloudwego/netpoll/bench/internal/machine"
	"github.com/cloudwego/netpoll/bench/internal/plan"
)

// Runner carries out scenarios. Only one goroutine may call its methods.
type Runner struct {
	Length         plan.Length
	PlainGenerator bool
	Wrk            string // the path of wrk; if empty, the generator loads HTTP servers instead
	Again          int    // how often a disturbed run is repeated
	// Run calls Done after each run, and Progress before each, with an estimate of the time that is left.
	Done     func(Sample) error
	Progress func(sc plan.Scenario, subject string, rep int, left time.Duration)

	programs Programs
	cpus     []int
	peaks    []float64 // throughput of the reference under plan.PeakScenario
}

// New pins this process, and with it the generator, to the last of its processors. The servers get the first ones.
func New(programs Programs) (*Runner, error) {
	cpus, err := machine.Allowed()
	if err != nil {
		return nil, err
	}
	if len(cpus) < 2 {
		return nil, fmt.Errorf("the generator and the server need a processor each: there are %d", len(cpus))
	}
	if _, err := machine.RaiseFileLimit(); err != nil {
		return nil, err
	}
	if err := machine.PinSelf(cpus[len(cpus)-1:]); err != nil {
		return nil, err
	}
	return &Runner{programs: programs, cpus: cpus}, nil
}

// serverCPUs returns the processors of the server.
func (r *Runner) serverCPUs(sc plan.Scenario) []int {
	return r.cpus[:min(max(1, sc.Cores), len(r.cpus))]
}

// job is one run.
type job struct {
	scenario plan.Scenario
	subject  string
	rep      int
}

// order lists all runs, repetition by repetition. Every other repetition goes through the subjects backwards.
func order(list []plan.Scenario, reps int) (jobs []job) {
	for rep := range reps {
		for _, sc := range list {
			names := slices.Clone(sc.Subjects)
			if rep%2 == 1 {
				slices.Reverse(names)
			}
			for _, name := range names {
				jobs = append(jobs, job{sc, name, rep})
			}
		}
	}
	return jobs
}

// Run carries out the scenarios. When ctx is cancelled it finishes the run under way and returns the context's error. It
// returns at the first failure, because figures of a server that fails are worth nothing.
func (r *Runner) Run(ctx context.Context, list []plan.Scenario) error {
	jobs := order(list, r.Length.Reps)
	began := time.Now()
	for i, j := range jobs {
		if err := ctx.Err(); err != nil {
			return err
		}
		perRun := time.Since(began) / time.Duration(max(1, i))
		if i == 0 {
			perRun = r.Length.Warmup + r.Length.Window + 300*time.Millisecond
		}
		r.Progress(j.scenario, j.subject, j.rep, perRun*time.Duration(len(jobs)-i))
		s, err := r.undisturbed(j)
		if err != nil {
			return fmt.Errorf("%s, %s: %w", j.scenario.Name, j.subject, err)
		}
		if err := r.Done(s); err != nil {
			return err
		}
	}
	return nil
}

// undisturbed carries out a run, and repeats it while something else disturbs it, Again times at most.
func (r *Runner) undisturbed(j job) (s Sample, err error) {
	for try := range r.Again + 1 {
		if s, err = r.one(j); err != nil {
			return s, err
		}
		s.Repeated = try
		if !s.Disturbed {
			break
		}
	}
	return s, nil
}

// one carries out one run.
func (r *Runner) one(j job) (s Sample, err error) {
	at := time.Now()
	list := plan.Servers
	switch j.scenario.Kind {
	case plan.HTTP:
		list = plan.HTTPServers
	case plan.Call:
		list = plan.Clients
	case plan.UDP:
		list = plan.UDPServers
	case plan.Local, plan.IdleLocal:
		list = plan.LocalServers
	case plan.TLS, plan.IdleTLS:
		list = plan.TLSServers
	case plan.Hertz:
		list = plan.HertzServers
	case plan.Kitex:
		list = plan.KitexServers
	}
	sub, err := plan.Find(list, j.subject)
	if err != nil {
		return s, err
	}
	switch j.scenario.Kind {
	case plan.Echo, plan.HTTP, plan.Hertz:
		if j.scenario.Wrk && r.Wrk != "" {
			s, err = r.wrk(sub, j.scenario)
			break
		}
		rate := j.scenario.Rate
		if j.scenario.PeakShare > 0 {
			peak, err := r.peak()
			if err != nil {
				return s, err
			}
			rate = peak * j.scenario.PeakShare
		}
		s, err = r.echo(sub, j.scenario, rate)
		if j.scenario.Name == plan.PeakScenario && j.subject == plan.Reference {
			r.peaks = append(r.peaks, s.Throughput)
		}
	case plan.Call:
		s, err = r.call(sub, j.scenario)
	case plan.Idle:
		s, err = r.idle(sub, j.scenario)
	case plan.TLS:
		s, err = r.tls(sub, j.scenario)
	case plan.UDP:
		s, err = r.udp(sub, j.scenario)
	case plan.Kitex:
		s, err = r.kitex(sub, j.scenario)
	case plan.IdleTLS:
		s, err = r.idleTLS(sub, j.scenario)
	case plan.Local:
		s, err = r.local(sub, j.scenario)
	case plan.IdleLocal:
		s, err = r.idleLocal(sub, j.scenario)
	default:
		err = fmt.Errorf("unknown kind %q", j.scenario.Kind)
	}
	s.Scenario, s.Group, s.Subject, s.Rep, s.At = j.scenario.Name, j.scenario.Group, j.subject, j.rep, at.UTC()
	s.SharedCPU = len(r.serverCPUs(j.scenario)) == len(r.cpus)
	return s, err
}

// peak returns the median throughput of the reference so far. It measures the reference if there was no run yet.
func (r *Runner) peak() (float64, error) {
	if len(r.peaks) == 0 {
		sub, err := plan.Find(plan.Servers, plan.Reference)
		if err != nil {
			return 0, err
		}
		s, err := r.echo(sub, plan.Scenario{Conns: 100, Size: 1 << 10, Depth: 1}, 0)
		if err != nil {
			return 0, fmt.Errorf("peak of the reference: %w", err)
		}
		r.peaks = append(r.peaks, s.Throughput)
	}
	sorted := slices.Sorted(slices.Values(r.peaks))
	return sorted[len(sorted)/2], nil
}
