package run

// This file finds out where a server spends its time: its system calls, counted by strace, and a profile.

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/cloudwego/netpoll/bench/internal/load"
	"github.com/cloudwego/netpoll/bench/internal/plan"
	"github.com/cloudwego/netpoll/bench/internal/stat"
)

// SystemCall says how often a server makes a system call.
type SystemCall struct {
	Name       string
	PerRequest float64
}

// Explanation says where a subject spends its time, at 100 connections and 1 KiB.
type Explanation struct {
	Subject string
	Calls   []SystemCall // most frequent first
	Profile string       // the first lines of the report by pprof
}

// explainWindow is how long Explain measures, as a multiple of the window of a run.
const explainWindow = 2

// Explain measures a server twice. The first time is under strace, which slows the server down but does not change the
// system calls it makes for a batch of a given size. The second is without strace, for a profile. It writes its files to
// dir.
func (r *Runner) Explain(subject, dir string) (e Explanation, err error) {
	e.Subject = subject
	sub, err := plan.Find(plan.Servers, subject)
	if err != nil {
		return e, err
	}
	if e.Calls, err = r.systemCalls(sub, filepath.Join(dir, "strace-"+subject+".txt")); err != nil {
		return e, fmt.Errorf("system calls: %w", err)
	}
	if e.Profile, err = r.profile(sub, filepath.Join(dir, "cpu-"+subject+".pprof")); err != nil {
		return e, fmt.Errorf("profile: %w", err)
	}
	return e, nil
}

// explainLoad generates the load for Explain. The generator calls begin at the beginning of the window.
func (r *Runner) explainLoad(addr netip.AddrPort, begin func()) (res *load.Result, err error) {
	g, err := load.Open(load.Spec{
		Addr: addr, Conns: 100, Size: 1 << 10, Warmup: r.Length.Warmup, Window: explainWindow * r.Length.Window,
		Plain: r.PlainGenerator, Begin: begin,
	})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, g.Close()) }()
	return g.Run()
}

func (r *Runner) systemCalls(sub plan.Subject, file string) (calls []SystemCall, err error) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		return nil, err
	}
	command := append([]string{strace, "-f", "-qq", "-c", "-o", file, r.programs.of(sub)}, sub.Args...)
	p, addr, err := startServer(command, sub.Env, r.serverCPUs(plan.Scenario{}))
	if err != nil {
		return nil, err
	}
	res, err := r.explainLoad(addr, nil)
	if err = errors.Join(err, p.stop()); err != nil { // strace writes the table when the server ends
		return nil, err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return parseStrace(string(text), res.Total)
}

// parseStrace reads the table of strace -c: % time, seconds, usecs/call, calls, errors if any, name.
func parseStrace(text string, requests int) (calls []SystemCall, err error) {
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 5 || fields[len(fields)-1] == "total" {
			continue
		}
		n, err := strconv.Atoi(fields[3])
		if err != nil {
			continue // a heading
		}
		calls = append(calls, SystemCall{fields[len(fields)-1], float64(n) / float64(max(1, requests))})
	}
	if len(calls) == 0 {
		return nil, fmt.Errorf("strace says %q", text)
	}
	slices.SortFunc(calls, func(a, b SystemCall) int {
		switch {
		case a.PerRequest > b.PerRequest:
			return -1
		case a.PerRequest < b.PerRequest:
			return 1
		}
		return strings.Compare(a.Name, b.Name)
	})
	return calls, nil
}

// profileLines is how many lines of a profile are reported.
const profileLines = 25

func (r *Runner) profile(sub plan.Subject, file string) (top string, err error) {
	p, addr, err := r.serverOf(sub, plan.Scenario{})
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	path, err := filepath.Abs(file)
	if err != nil {
		return "", err
	}
	if strings.ContainsAny(path, " \n") {
		return "", fmt.Errorf("the folder %q has a space in its name", filepath.Dir(path))
	}
	seconds := (explainWindow * r.Length.Window).Seconds()
	var asked error
	_, err = r.explainLoad(addr, func() { asked = p.send(stat.Profile, path, fmt.Sprintf("%.2f", seconds)) })
	if err = errors.Join(err, asked); err != nil {
		return "", err
	}
	reading, err := p.answer()
	if err != nil {
		return "", err
	}
	if reading.ProfileError != "" {
		return "", errors.New(reading.ProfileError)
	}
	out, err := exec.Command("go", "tool", "pprof", "-top", "-nodecount", strconv.Itoa(profileLines),
		r.programs.of(sub), file).Output()
	if err != nil {
		return "", fmt.Errorf("pprof: %w", err)
	}
	_, table, found := strings.Cut(string(out), "flat%") // the lines before it have file names and times
	if !found {
		return "", fmt.Errorf("pprof says %q", out)
	}
	return "      flat  flat%" + table, nil
}
