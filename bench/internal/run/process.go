// Package run carries out a plan: it builds the programs, starts them, generates the load, and collects the results.
package run

// This file holds a measured process, and the commands and answers that go between it and this one.

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/cloudwego/netpoll/bench/internal/machine"
	"github.com/cloudwego/netpoll/bench/internal/stat"
)

// answerTime is how long a process may take for an answer.
const answerTime = 20 * time.Second

// process is a running program of package serve.
type process struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string // the lines that it prints; closed at the end of its output
	addr  string      // the address where it listens
}

// start starts a program on cpus and waits until it has printed its first line.
func start(path string, args, env []string, cpus []int) (*process, error) {
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS="+strconv.Itoa(len(cpus)))
	cmd.Env = append(cmd.Env, env...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := machine.StartOn(cmd, cpus); err != nil {
		return nil, fmt.Errorf("start: %w", err)
	}
	p := &process{cmd: cmd, in: in, lines: make(chan string, 16)}
	go func() {
		defer close(p.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			p.lines <- s.Text()
		}
	}()
	if p.addr, err = p.line(answerTime); err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return p, nil
}

// line returns the next line that the process prints.
func (p *process) line(patience time.Duration) (string, error) {
	select {
	case l, ok := <-p.lines:
		if !ok {
			return "", errors.New("the process has ended")
		}
		return l, nil
	case <-time.After(patience):
		return "", errors.New("the process does not answer")
	}
}

// send sends a command. It does not wait for the answer.
func (p *process) send(command ...string) error {
	_, err := io.WriteString(p.in, strings.Join(command, " ")+"\n")
	return err
}

// answer waits for the reading with which the process answers the oldest command that has no answer yet.
func (p *process) answer() (r stat.Reading, err error) {
	l, err := p.line(answerTime)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal([]byte(l), &r); err != nil {
		return r, fmt.Errorf("answer %q: %w", l, err)
	}
	return r, nil
}

// ask sends a command and waits for its answer.
func (p *process) ask(command ...string) (stat.Reading, error) {
	if err := p.send(command...); err != nil {
		return stat.Reading{}, err
	}
	return p.answer()
}

// stop makes the process exit, and waits until it has.
func (p *process) stop() error {
	_ = p.in.Close() // the process exits at the end of its input
	timer := time.AfterFunc(answerTime, func() { _ = p.cmd.Process.Kill() })
	defer timer.Stop()
	for range p.lines { // the pipe must be read to its end before Wait
	}
	return p.cmd.Wait()
}
