package run

// This file measures clients, which are programs of package caller.

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/cloudwego/netpoll/bench/internal/caller"
	"github.com/cloudwego/netpoll/bench/internal/machine"
	"github.com/cloudwego/netpoll/bench/internal/plan"
	"github.com/cloudwego/netpoll/bench/internal/stat"
)

// call measures a client against a server. The sample is about the client. If both use the same library, its processor
// time is the sum of both.
func (r *Runner) call(sub plan.Subject, sc plan.Scenario) (s Sample, err error) {
	both := sc.Server == ""
	name := sc.Server
	if both {
		name = sub.Name
	}
	serverSubject, err := plan.Find(plan.Servers, name)
	if err != nil {
		return s, err
	}
	server, _, err := r.serverOf(serverSubject, sc)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	client, err := r.clientOf(sub, sc, server)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, client.stop()) }()
	res, serverTime, err := r.callWindow(client, server, &s)
	if err != nil {
		return s, err
	}
	s.calls(res)
	if both && s.Requests > 0 {
		s.CPU += micros(serverTime) / float64(s.Requests)
	}
	return s, nil
}

// clientOf starts the client of a subject, which connects to server.
func (r *Runner) clientOf(sub plan.Subject, sc plan.Scenario, server *process, more ...string) (*process, error) {
	client, err := start(r.programs.of(sub), append([]string{
		"-addr", server.addr, "-mode", sc.Mode, "-callers", strconv.Itoa(sc.Callers), "-conns", strconv.Itoa(sc.Conns),
		"-size", strconv.Itoa(sc.Size), "-warmup", r.Length.Warmup.String(), "-window", r.Length.Window.String(),
	}, more...), sub.Env, r.cpus[len(r.cpus)-1:])
	if err != nil {
		return nil, err
	}
	if client.addr != "ready" {
		return nil, errors.Join(fmt.Errorf("the client says %q", client.addr), client.stop())
	}
	return client, nil
}

// callWindow runs the client, and measures the server and the machine from about the beginning of the window to about
// its end. serverTime is the processor time of the server, in nanoseconds, scaled to the length of the window.
func (r *Runner) callWindow(client, server *process, s *Sample) (res caller.Result, serverTime int64, err error) {
	if err := client.send("go"); err != nil {
		return res, 0, err
	}
	<-time.After(r.Length.Warmup)
	a, err := look(client, server)
	if err != nil {
		return res, 0, err
	}
	<-time.After(r.Length.Window)
	b, err := look(client, server)
	if err != nil {
		return res, 0, err
	}
	line, err := client.line(answerTime)
	if err != nil {
		return res, 0, err
	}
	if err := json.Unmarshal([]byte(line), &res); err != nil {
		return res, 0, fmt.Errorf("the client says %q: %w", line, err)
	}
	wall := float64(b.at.Sub(a.at))
	s.Other = max(0, float64(b.usage.Busy-a.usage.Busy)-float64(b.client-a.client)-float64(b.server-a.server)) / wall
	s.Stolen = float64(b.usage.Stolen-a.usage.Stolen) / wall
	s.Disturbed = s.Other > disturbance || s.Stolen > disturbance
	serverTime = int64(float64(b.server-a.server) * float64(res.Elapsed) / wall)
	s.ServerUsed = float64(b.server-a.server) / wall
	return res, serverTime, nil
}

// glance has what a client, its server and the machine have used up to one moment.
type glance struct {
	at             time.Time
	usage          machine.Usage
	client, server int64 // processor time, ns
}

func look(client, server *process) (g glance, err error) {
	var errs [3]error
	g.at = time.Now()
	g.client, errs[0] = machine.ProcessTime(client.cmd.Process.Pid)
	g.server, errs[1] = machine.ProcessTime(server.cmd.Process.Pid)
	g.usage, errs[2] = machine.ReadUsage()
	return g, errors.Join(errs[:]...)
}

// seen puts what the callers saw into s.
func (s *Sample) seen(res caller.Result) {
	us := func(d time.Duration) float64 { return micros(int64(d)) }
	s.Requests = res.Requests
	s.Throughput = float64(res.Requests) / res.Elapsed.Seconds()
	s.P50, s.P90, s.P99, s.P999, s.Max = us(res.P50), us(res.P90), us(res.P99), us(res.P999), us(res.Max)
}

// calls puts the client's result into s.
func (s *Sample) calls(res caller.Result) {
	s.seen(res)
	s.counts(res.Before, res.After, 1)
	used := res.After.UserTime + res.After.SystemTime - res.Before.UserTime - res.Before.SystemTime
	s.Used = float64(used) / float64(res.Elapsed)
	if s.Requests > 0 {
		s.CPU = micros(used) / float64(s.Requests)
	}
	s.settle(res.Settled)
}

// counts puts the differences between two readings of a process into s. Counts are per request, multiplied by scale.
func (s *Sample) counts(before, after stat.Reading, scale float64) {
	user, system := after.UserTime-before.UserTime, after.SystemTime-before.SystemTime
	s.UserShare = float64(user) / float64(max(1, user+system))
	s.Collections = after.Collections - before.Collections
	s.PauseMax = micros(after.PauseMax)
	s.PeakRSS = after.PeakRSS
	if n := float64(s.Requests); n > 0 {
		s.Switches = scale * float64(after.Voluntary+after.Involuntary-before.Voluntary-before.Involuntary) / n
		s.Allocs = scale * float64(after.Allocations-before.Allocations) / n
		s.AllocBytes = scale * float64(after.AllocBytes-before.AllocBytes) / n
	}
}
