package run

// This file measures HTTP servers with wrk, to check the results of the generator against another tool.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/cloudwego/netpoll/bench/internal/machine"
	"github.com/cloudwego/netpoll/bench/internal/plan"
	"github.com/cloudwego/netpoll/bench/internal/stat"
)

// wrkScript posts a body, and prints the result as one line for parseWrk.
const wrkScript = `
wrk.method = "POST"
wrk.body = string.rep("x", %d)
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("RESULT %%d %%d %%d %%d %%d %%d %%d %%d\n", summary.requests, summary.duration,
    e.connect + e.read + e.write + e.status + e.timeout, latency:percentile(50), latency:percentile(90),
    latency:percentile(99), latency:percentile(99.9), latency.max))
end
`

// wrk measures an HTTP server. The whole run of wrk is the window.
func (r *Runner) wrk(sub plan.Subject, sc plan.Scenario) (s Sample, err error) {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return s, err
	}
	defer os.RemoveAll(dir)
	script := filepath.Join(dir, "post.lua")
	if err := os.WriteFile(script, fmt.Appendf(nil, wrkScript, sc.Size), 0o600); err != nil {
		return s, err
	}
	p, addr, err := r.serverOf(sub, sc)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, p.stop()) }()

	// wrk accepts whole seconds only.
	seconds := max(1, int(r.Length.Window.Round(time.Second)/time.Second))
	ctx, cancel := context.WithTimeout(context.Background(), answerTime+time.Duration(seconds)*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, r.Wrk, "-t1", "-c", strconv.Itoa(sc.Conns), "-d", strconv.Itoa(seconds)+"s",
		"-s", script, "http://"+addr.String()+"/echo")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	a := note(p)
	if err := machine.StartOn(cmd, r.cpus[len(r.cpus)-1:]); err != nil {
		return s, err
	}
	err = cmd.Wait()
	b := note(p)
	if err = errors.Join(err, a.err, b.err); err != nil {
		return s, err
	}
	if err := s.parseWrk(out.String()); err != nil {
		return s, err
	}
	before, err1 := p.answer()
	after, err2 := p.answer()
	settled, err3 := p.ask(stat.Collect)
	if err := errors.Join(err1, err2, err3); err != nil {
		return s, err
	}
	used := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	b.own += int64(used)
	s.account(a, b, before, after)
	s.settle(settled)
	s.ClientCPU = float64(used) / float64(b.at.Sub(a.at))
	s.ClientBusy = s.ClientCPU
	return s, nil
}

// parseWrk reads the line that the script prints.
func (s *Sample) parseWrk(out string) error {
	_, line, found := strings.Cut(out, "RESULT ")
	if !found {
		return fmt.Errorf("wrk says %q", out)
	}
	var duration, failures, p50, p90, p99, p999, most int
	if _, err := fmt.Sscan(line, &s.Requests, &duration, &failures, &p50, &p90, &p99, &p999, &most); err != nil {
		return fmt.Errorf("wrk says %q: %w", line, err)
	}
	if failures > 0 || s.Requests == 0 || duration == 0 {
		return fmt.Errorf("wrk reports %d failures of %d requests", failures, s.Requests)
	}
	s.Throughput = float64(s.Requests) / (float64(duration) / 1e6)
	s.P50, s.P90, s.P99, s.P999, s.Max = float64(p50), float64(p90), float64(p99), float64(p999), float64(most)
	return nil
}
