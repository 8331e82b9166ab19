// Command bench measures this library against cloudwego/netpoll v0.7.3, package net, gnet, nbio, and servers of bare
// system calls, under the same load, in turn, on one machine. README.md says how to use it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/cloudwego/netpoll/bench/internal/machine"
	"github.com/cloudwego/netpoll/bench/internal/plan"
	"github.com/cloudwego/netpoll/bench/internal/report"
	"github.com/cloudwego/netpoll/bench/internal/run"
	"github.com/cloudwego/netpoll/internal/uring"
)

// options are the flags.
type options struct {
	quick, smoke, list, plain bool
	pattern, subjects         string
	reps                      int
	window                    time.Duration
	dir                       string
	publish, old, explain     bool
	shown                     bool
	again                     int
}

func main() {
	var o options
	flag.BoolVar(&o.quick, "quick", false, "the short form: under 3 minutes")
	flag.BoolVar(&o.smoke, "smoke", false, "only see that everything builds and answers: under 20 seconds")
	flag.BoolVar(&o.list, "list", false, "list the scenarios and end")
	flag.BoolVar(&o.plain, "plain", false, "generator without a ring: a system call for each receive and send")
	flag.StringVar(&o.pattern, "run", "", "only scenarios that match this regular expression")
	flag.StringVar(&o.subjects, "subjects", "", "only these subjects, comma separated")
	flag.IntVar(&o.reps, "reps", 0, "how often each run is repeated")
	flag.DurationVar(&o.window, "window", 0, "how long each run measures")
	flag.StringVar(&o.dir, "o", "results", "folder for the results")
	flag.BoolVar(&o.publish, "publish", false, "put tables and plots into the documents of the repository, too")
	flag.BoolVar(&o.shown, "shown", false, "only what docs/performance.md shows: about 15 minutes")
	flag.IntVar(&o.again, "again", 0, "how often a run is repeated that something else disturbed")
	flag.BoolVar(&o.explain, "explain", false, "instead: system calls for each request, and profiles (needs strace)")
	flag.BoolVar(&o.old, "old", false, "run nothing: report on the results that the folder has")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := bench(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// length returns how long to measure and how often to repeat.
func (o options) length() plan.Length {
	l := plan.Full
	switch {
	case o.smoke:
		l = plan.Smoke
	case o.quick:
		l = plan.Quick
	}
	if o.reps > 0 {
		l.Reps = o.reps
	}
	if o.window > 0 {
		l.Window = o.window
	}
	return l
}

// scenarios returns the scenarios that the flags choose.
func (o options) scenarios() (list []plan.Scenario, err error) {
	re, err := regexp.Compile(o.pattern)
	if err != nil {
		return nil, err
	}
	for _, s := range plan.Matrix(o.quick, o.smoke) {
		if !re.MatchString(s.Name) {
			continue
		}
		if o.subjects != "" {
			wanted := strings.Split(o.subjects, ",")
			s = s.Without(func(n string) bool { return !slices.Contains(wanted, n) })
		}
		if len(s.Subjects) > 0 {
			list = append(list, s)
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("nothing matches -run %q -subjects %q", o.pattern, o.subjects)
	}
	if o.shown {
		list = plan.Shown(list)
	}
	return list, nil
}

func bench(ctx context.Context, o options) error {
	list, err := o.scenarios()
	if err != nil {
		return err
	}
	if o.list {
		for _, s := range list {
			fmt.Println(s.Name, "|", strings.Join(s.Subjects, ", "))
		}
		return nil
	}
	if err := uring.ProbeOnce(); err != nil {
		fmt.Fprintln(os.Stderr, "no io_uring here, so a generator without a ring, and no", plan.Ring, "server:", err)
		o.plain = true
		list = plan.Without(list, plan.Ring)
	}
	root, err := run.Root()
	if err != nil {
		return err
	}
	if o.old {
		about, samples, err := report.Load(o.dir)
		if err != nil {
			return err
		}
		return finish(root, about, samples, list, o)
	}
	bin, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(bin)
	fmt.Fprintln(os.Stderr, "building")
	needed := plan.Needed(list)
	if o.explain {
		needed = slices.Concat(plan.Servers, plan.LocalServers, plan.LocalClients)
	}
	programs, err := run.Build(ctx, root, bin, needed)
	if err != nil {
		return err
	}
	// Describe counts the processors, so it comes before New pins this process to one of them.
	about := report.About{Machine: machine.Describe(), Length: o.length()}
	runtime.GOMAXPROCS(4) // the generator occupies one P while it waits: see package sock
	r, err := run.New(programs)
	if err != nil {
		return err
	}
	r.Length, r.PlainGenerator, r.Again = o.length(), o.plain, o.again
	if r.Wrk, err = exec.LookPath("wrk"); err != nil && slices.ContainsFunc(list, usesWrk) {
		fmt.Fprintln(os.Stderr, "wrk is not installed: the built-in generator loads the HTTP servers in its place")
	}
	if o.explain {
		return explain(r, root, about, o)
	}
	samples, failure := measure(ctx, r, list, o)
	return errors.Join(finish(root, about, samples, list, o), failure)
}

func usesWrk(s plan.Scenario) bool { return s.Wrk }

// measure runs the scenarios, and writes each sample to a file at once. It returns the samples that it has even if it
// fails or is interrupted.
func measure(ctx context.Context, r *run.Runner, list []plan.Scenario, o options) (samples []run.Sample, err error) {
	if err := os.MkdirAll(o.dir, 0o755); err != nil {
		return nil, err
	}
	raw, err := os.Create(filepath.Join(o.dir, report.SamplesFile))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, raw.Close()) }()
	enc := json.NewEncoder(raw)
	r.Done = func(s run.Sample) error {
		samples = append(samples, s)
		return enc.Encode(s)
	}
	r.Progress = func(sc plan.Scenario, subject string, rep int, left time.Duration) {
		fmt.Fprintf(os.Stderr, "%8v left  %d  %-52s %s\n", left.Round(time.Second), rep+1, sc.Name, subject)
	}
	return samples, r.Run(ctx, list)
}

// finish writes and prints the report on samples, and publishes it if the flags say so.
func finish(root string, about report.About, samples []run.Sample, list []plan.Scenario, o options) error {
	if len(samples) == 0 {
		return nil
	}
	if err := report.Write(o.dir, about, samples, list); err != nil {
		return err
	}
	tables, err := os.ReadFile(filepath.Join(o.dir, report.TablesFile))
	if err != nil {
		return err
	}
	if _, err := os.Stdout.Write(tables); err != nil || !o.publish {
		return err
	}
	return publish(root, about, samples, list, tables)
}

// publish puts the plots and the table of few rows into docs/, and all tables into results.md.
func publish(root string, about report.About, samples []run.Sample, list []plan.Scenario, tables []byte) error {
	docs := filepath.Join(root, "..", "docs")
	plots := filepath.Join(docs, "performance")
	if err := os.MkdirAll(plots, 0o755); err != nil {
		return err
	}
	if _, err := report.Plots(plots, samples, list); err != nil {
		return err
	}
	return errors.Join(
		report.InsertFile(filepath.Join(docs, "performance.md"), "summary", report.Summary(about, samples)),
		report.InsertFile(filepath.Join(root, "results.md"), "results", tables))
}

// explain finds out where some subjects spend their time.
func explain(r *run.Runner, root string, about report.About, o options) error {
	names := []string{plan.Netpoll, plan.NoRing, plan.Reference, plan.Net, plan.Epoll, plan.Shm, plan.Unix, plan.NetUnix}
	if !o.plain {
		names = append(names, plan.Ring)
	}
	if o.subjects != "" {
		names = strings.Split(o.subjects, ",")
	}
	if err := os.MkdirAll(o.dir, 0o755); err != nil {
		return err
	}
	var list []run.Explanation
	var locals []run.LocalCalls
	for _, name := range names {
		fmt.Fprintln(os.Stderr, "explaining", name)
		calls, err := explainLocal(r, name, o.dir)
		locals = append(locals, calls...)
		if err == nil && len(calls) == 0 {
			var e run.Explanation
			e, err = r.Explain(name, o.dir)
			list = append(list, e)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	text := report.Explanations(about, list, locals)
	if err := os.WriteFile(filepath.Join(o.dir, "explain.md"), text, 0o644); err != nil {
		return err
	}
	if _, err := os.Stdout.Write(text); err != nil || !o.publish {
		return err
	}
	return report.InsertFile(filepath.Join(root, "results.md"), "explanation", text)
}

// explainLocal counts the system calls of the local scenarios, if the subject is one of those.
func explainLocal(r *run.Runner, subject, dir string) (list []run.LocalCalls, err error) {
	for _, sc := range plan.Matrix(false, false) {
		if sc.Kind != plan.Local || !slices.Contains(sc.Subjects, subject) {
			continue
		}
		c, err := r.ExplainLocal(sc, subject, dir)
		if err != nil {
			return list, fmt.Errorf("%s: %w", sc.Name, err)
		}
		list = append(list, c)
	}
	return list, nil
}
