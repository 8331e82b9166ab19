package run

// This file measures servers and clients on one machine, over shared memory and Unix sockets.

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"github.com/cloudwego/netpoll/bench/internal/plan"
	"github.com/cloudwego/netpoll/bench/internal/stat"
)

// local measures a server and its client. The processor time is that of both.
func (r *Runner) local(sub plan.Subject, sc plan.Scenario) (Sample, error) {
	s, err := r.loaded(sub, sc, func(server *process) (*process, error) { return r.localClient(sub, sc, server) })
	if err == nil && s.Throughput > 0 {
		s.CPU += 1e6 * s.ClientBusy / s.Throughput
	}
	return s, err
}

// localClient starts the client of a subject, which connects to server. under is what runs it, if anything does.
func (r *Runner) localClient(sub plan.Subject, sc plan.Scenario, server *process, under ...string) (*process, error) {
	program, err := plan.Find(plan.LocalClients, sub.Name)
	if err != nil {
		return nil, err
	}
	command := append(append(under, r.programs.of(program)), program.Args...)
	command = append(command, "-addr", server.addr, "-mode", sc.Mode, "-conns", strconv.Itoa(sc.Conns),
		"-size", strconv.Itoa(sc.Size), "-batch", strconv.Itoa(max(1, sc.Batch)),
		"-warmup", r.Length.Warmup.String(), "-window", r.Length.Window.String())
	return start(command[0], command[1:], program.Env, r.cpus[len(r.cpus)-1:])
}

// idleLocal measures a server that has connections and no requests. Each has echoed one message.
func (r *Runner) idleLocal(sub plan.Subject, sc plan.Scenario) (s Sample, err error) {
	command := r.commandOf(sub, sc)
	p, err := start(command[0], command[1:], sub.Env, r.serverCPUs(sc))
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	first := sc
	first.Conns = 1
	one, err := r.localClient(sub, first, p) // what the first connection brings with it is no one's share
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, one.stop()) }()
	empty, err := p.ask(stat.Collect)
	if err != nil {
		return s, err
	}
	client, err := r.localClient(sub, sc, p)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, client.stop()) }()
	return r.rest(p, empty, sc.Conns)
}

// LocalCalls are the system calls of a server and its client for each message.
type LocalCalls struct {
	Subject, Scenario string
	Server, Client    []SystemCall
}

// ExplainLocal counts the system calls of a scenario of kind Local, under strace, which slows both sides down: a batch can
// grow while the other side is slow. Messages that go one way are those that the server has counted.
func (r *Runner) ExplainLocal(sc plan.Scenario, subject, dir string) (c LocalCalls, err error) {
	c.Subject, c.Scenario = subject, sc.Name
	sub, err := plan.Find(plan.LocalServers, subject)
	if err != nil {
		return c, err
	}
	strace, err := exec.LookPath("strace")
	if err != nil {
		return c, err
	}
	file := func(side string) string { return filepath.Join(dir, "strace-"+subject+"-"+side+".txt") }
	under := func(side string) []string { return []string{strace, "-f", "-qq", "-c", "-o", file(side)} }
	command := append(under("server"), r.commandOf(sub, sc)...)
	server, err := start(command[0], command[1:], sub.Env, r.serverCPUs(sc))
	if err != nil {
		return c, err
	}
	messages, err := r.localLoad(sub, sc, server, under("client"))
	if err = errors.Join(err, server.stop()); err != nil { // strace writes the table when the process ends
		return c, err
	}
	if messages == 0 {
		return c, errors.New("no message was counted")
	}
	for _, side := range []struct {
		name string
		to   *[]SystemCall
	}{{"server", &c.Server}, {"client", &c.Client}} {
		text, err := os.ReadFile(file(side.name))
		if err != nil {
			return c, err
		}
		if *side.to, err = parseStrace(string(text), messages); err != nil {
			return c, fmt.Errorf("%s: %w", side.name, err)
		}
	}
	return c, nil
}

// localLoad runs a client to its end, and returns how many messages went to the server.
func (r *Runner) localLoad(sub plan.Subject, sc plan.Scenario, server *process, under []string) (messages int, err error) {
	whole := *r
	whole.Length.Warmup = 0 // what comes before the window would not be counted
	client, err := whole.localClient(sub, sc, server, under...)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, client.stop()) }()
	res, _, err := whole.callWindow(client, server, new(Sample))
	if err != nil {
		return 0, err
	}
	reading, err := server.ask(stat.Read)
	if reading.Counted > 0 {
		return int(reading.Counted), err
	}
	return res.Requests, err
}
