package run

// This file measures servers under the load of a program, which is not measured.

import (
	"errors"
	"strconv"

	"github.com/cloudwego/netpoll/bench/internal/plan"
	"github.com/cloudwego/netpoll/bench/internal/stat"
)

// loaded measures a server. load starts the program, which connects to it. The sample is about the server, except for what
// only the program can see.
func (r *Runner) loaded(sub plan.Subject, sc plan.Scenario, load func(server *process) (*process, error)) (s Sample, err error) {
	command := r.commandOf(sub, sc)
	server, err := start(command[0], command[1:], sub.Env, r.serverCPUs(sc))
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	client, err := load(server)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, client.stop()) }()
	before, err := server.ask(stat.Read)
	if err != nil {
		return s, err
	}
	res, serverTime, err := r.callWindow(client, server, &s)
	if err != nil {
		return s, err
	}
	after, err := server.ask(stat.Read)
	if err != nil {
		return s, err
	}
	settled, err := server.ask(stat.Collect)
	if err != nil {
		return s, err
	}
	s.seen(res)
	s.Unanswered = res.Lost
	// The two readings are further apart than the ends of the window: by the warm-up.
	scale := float64(res.Elapsed) / float64(after.Monotonic-before.Monotonic)
	if n := after.Counted - before.Counted; n > 0 {
		s.Requests = int(scale * float64(n))
		s.Throughput = float64(s.Requests) / res.Elapsed.Seconds()
	}
	s.counts(before, after, scale)
	s.settle(settled)
	s.Used, s.ServerUsed = s.ServerUsed, 0
	used := res.After.UserTime + res.After.SystemTime - res.Before.UserTime - res.Before.SystemTime
	s.ClientBusy = float64(used) / float64(res.Elapsed)
	if s.Requests > 0 {
		s.CPU = micros(serverTime) / float64(s.Requests)
	}
	return s, nil
}

// udp measures a server of datagrams.
func (r *Runner) udp(sub plan.Subject, sc plan.Scenario) (Sample, error) {
	return r.loaded(sub, sc, func(server *process) (*process, error) {
		return start(r.programs.of(plan.Packets), []string{
			"-addr", server.addr, "-mode", sc.Mode, "-conns", strconv.Itoa(sc.Conns), "-size", strconv.Itoa(sc.Size),
			"-warmup", r.Length.Warmup.String(), "-window", r.Length.Window.String(),
		}, nil, r.cpus[len(r.cpus)-1:])
	})
}

// kitex measures a Kitex server.
func (r *Runner) kitex(sub plan.Subject, sc plan.Scenario) (Sample, error) {
	return r.loaded(sub, sc, func(server *process) (*process, error) {
		return r.clientOf(plan.KitexClient, sc, server)
	})
}
