// Package run carries a plan out: it builds the programs, starts them, loads them, and collects what was measured.
package run

// This file holds a measured process and the conversation with it.

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

// answerTime bounds how long a process may take for an answer.
const answerTime = 20 * time.Second

// process is a running program of package serve.
type process struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string // what it prints, line by line; closed at its end
	addr  string      // where it listens
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

// line is the next line that the process prints.
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

// send asks for something. It does not wait for the answer.
func (p *process) send(command ...string) error {
	_, err := io.WriteString(p.in, strings.Join(command, " ")+"\n")
	return err
}

// answer is the reading that the process sends for the oldest command without one.
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

// ask is send and answer.
func (p *process) ask(command ...string) (stat.Reading, error) {
	if err := p.send(command...); err != nil {
		return stat.Reading{}, err
	}
	return p.answer()
}

// stop ends the process and waits for its end.
func (p *process) stop() error {
	_ = p.in.Close() // it ends by this
	timer := time.AfterFunc(answerTime, func() { _ = p.cmd.Process.Kill() })
	defer timer.Stop()
	for range p.lines { // the pipe must be read to its end before Wait
	}
	return p.cmd.Wait()
}
