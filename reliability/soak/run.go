package main

// This file holds the soak: it starts both processes, samples them, and checks that nothing is left at the end.

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cloudwego/netpoll/reliability/internal/child"
	"github.com/cloudwego/netpoll/reliability/internal/gauge"
	"github.com/cloudwego/netpoll/reliability/internal/victim"
)

// settings are the settings of the command.
type settings struct {
	d    time.Duration
	idle int
	seed uint64
	leak string
	wait time.Duration // how long everything may take to be as before, at the end
}

const (
	mib = 1 << 20

	// samples is how many samples to take. There are more if they would be more than longestPause apart.
	samples, longestPause = 200, 10 * time.Second

	// How much may be left when the work has ended.
	liveLeft, goroutinesLeft = 2 * mib, 16
)

// metric is a figure that must not grow.
type metric struct {
	Name, Unit, File string
	Scale            float64 // values are divided by it to get Unit
	// Allowed is how much the line may grow over the whole run, in Unit. Share is the same as a share of the mean.
	Allowed, Share float64
	Watched        bool // false: the metric is only shown
	of             func(sample) float64
}

// sample is one reading of a process.
type sample struct {
	at time.Duration
	gauge.Inside
	gauge.Outside
}

var metrics = []metric{
	{"Live heap", "MiB", "heap.svg", mib, 2, 0.1, true, func(s sample) float64 { return float64(s.Live) }},
	{"Resident memory", "MiB", "resident.svg", mib, 16, 0.1, true, func(s sample) float64 { return float64(s.RSS) }},
	{"Descriptors", "descriptors", "descriptors.svg", 1, 20, 0.05, true,
		func(s sample) float64 { return float64(s.Descriptors) }},
	{"Goroutines", "goroutines", "goroutines.svg", 1, 20, 0.1, true,
		func(s sample) float64 { return float64(s.Goroutines) }},
	{"Threads", "threads", "threads.svg", 1, 6, 0, true, func(s sample) float64 { return float64(s.Threads) }},
	{"Longest pause of a collection", "ms", "pauses.svg", 1e6, 0, 0, false,
		func(s sample) float64 { return float64(s.Pause) }},
}

// watched is one of the two processes.
type watched struct {
	Name    string
	samples []sample
	before  sample
	after   sample
	read    func(collect bool) (sample, error)
}

// outcome is the result of a soak.
type outcome struct {
	settings
	Took     time.Duration
	watched  []*watched
	verdicts map[string]verdict // by process and metric
	Load     loadAnswer
	Accepted int64 // connections that the server accepted
	Requests int64 // requests that the server answered
	LogLines int
	broken   []string // the checks that have failed
}

// soak is a soak that is running.
type soak struct {
	outcome
	server *victim.Process
	load   *child.Process
}

// run soaks for set.d. The outcome has the checks that have failed. An error means that the soak could not run.
func run(set settings) (*outcome, error) {
	s := &soak{outcome: outcome{settings: set, verdicts: map[string]verdict{}}}
	var err error
	if s.server, err = victim.Start(victim.Config{Leak: set.leak, TLS: true, Shm: true}); err != nil {
		return nil, err
	}
	s.load, err = child.Start(loadRole, loadConfig{Addr: s.server.Addr, TLSAddr: s.server.TLSAddr, ShmAddr: s.server.ShmAddr, Seed: set.seed, Idle: set.idle})
	if err != nil {
		return nil, errors.Join(err, s.server.Stop())
	}
	s.watched = []*watched{{Name: "server", read: s.readServer}, {Name: "load", read: s.readLoad}}
	err = s.phases()
	err = errors.Join(err, s.load.Stop(), s.server.Stop())
	s.LogLines, _ = s.server.Errors()
	s.hold(s.Load.Wrong == 0, "%d things went wrong at the clients: %q", s.Load.Wrong, s.Load.Errors)
	return &s.outcome, err
}

// hold records a failed check unless ok.
func (s *soak) hold(ok bool, format string, args ...any) {
	if !ok {
		s.broken = append(s.broken, fmt.Sprintf(format, args...))
	}
}

func (s *soak) phases() (err error) {
	for _, w := range s.watched {
		if w.before, err = w.read(true); err != nil {
			return err
		}
	}
	if err := s.load.Ask(loadQuestion{Start: true}, &s.Load); err != nil {
		return err
	}
	if err := s.sample(); err != nil {
		return err
	}
	if err := s.load.Ask(loadQuestion{Stop: true}, &s.Load); err != nil {
		return err
	}
	s.judge()
	return s.ended()
}

// sample takes samples until s.d has passed.
func (s *soak) sample() error {
	ticker := time.NewTicker(min(max(s.d/samples, 50*time.Millisecond), longestPause))
	defer ticker.Stop()
	began := time.Now()
	for s.Took < s.d {
		<-ticker.C
		s.Took = time.Since(began)
		for _, w := range s.watched {
			one, err := w.read(false)
			if err != nil {
				return err
			}
			one.at = s.Took
			w.samples = append(w.samples, one)
		}
	}
	return nil
}

// judge fits a line to each curve, and records those that grow too much.
func (s *soak) judge() {
	for _, w := range s.watched {
		for _, m := range metrics {
			points := settled(w.curve(m))
			v := judge(points, m.Allowed)
			v = judge(points, m.Allowed+m.Share*v.Mean)
			s.verdicts[w.Name+m.Name] = v
			s.hold(v.OK || !m.Watched, "%s of the %s: grew by %.2f ± %.2f %s, allowed are %.2f", m.Name, w.Name,
				v.Growth, v.Noise, m.Unit, v.Allowed)
		}
	}
}

// curve returns the points of a metric over time.
func (w *watched) curve(m metric) (points []point) {
	for _, s := range w.samples {
		points = append(points, point{s.at.Seconds(), m.of(s) / m.Scale})
	}
	return points
}

// ended waits until both processes are as they were before the work.
func (s *soak) ended() error {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for began := time.Now(); ; <-ticker.C {
		var left []string
		for _, w := range s.watched {
			var err error
			if w.after, err = w.read(true); err != nil {
				return err
			}
			left = slices.Concat(left, w.left())
		}
		if len(left) == 0 {
			return nil
		}
		if time.Since(began) > s.wait {
			s.hold(false, "left when the work was over: %q", left)
			return nil
		}
	}
}

// left lists what is not as it was before.
func (w *watched) left() (list []string) {
	check := func(what string, before, after, more int64) {
		if after > before+more {
			list = append(list, fmt.Sprintf("%s of the %s: %d, before: %d", what, w.Name, after, before))
		}
	}
	check("descriptors", w.before.Descriptors, w.after.Descriptors, victim.LazyDescriptors())
	check("goroutines", w.before.Goroutines, w.after.Goroutines, goroutinesLeft)
	check("live heap", w.before.Live, w.after.Live, liveLeft)
	return list
}

func (s *soak) readServer(collect bool) (sample, error) {
	state, err := s.server.Read(collect)
	s.Accepted, s.Requests = state.Accepted, state.Requests
	return sample{Inside: state.Inside, Outside: state.Outside}, err
}

func (s *soak) readLoad(collect bool) (one sample, err error) {
	if err := s.load.Ask(loadQuestion{Collect: collect}, &s.Load); err != nil {
		return one, err
	}
	one.Inside = s.Load.Inside
	one.Outside, err = gauge.Look(s.load.PID())
	return one, err
}
