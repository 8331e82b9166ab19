// Package child runs parts of a program in processes of their own: the program starts itself again with the name of a
// role in its environment. So the memory and the descriptors of a server are its own, and a test binary has all it
// needs in one file.
//
// The two processes exchange JSON values over the child's standard input and output. The end of its input tells a
// child to end.
package child

// This file holds both ends of the conversation and the start of a child.

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// roleVariable is the environment variable that makes a process a child.
const roleVariable = "RELIABILITY_ROLE"

// patience bounds how long a child may take for an answer, and for its end. It is long because the machine may be
// overloaded on purpose.
const patience = time.Minute

// keptLines is how many lines of a child's standard error are kept; the others are counted.
const keptLines = 100

// Role is what a child does. It returns when the link is at its end.
type Role func(link *Link) error

// Main does nothing in a process that is no child. In a child it plays the role and does not return. It is the first
// thing that main, or TestMain, calls.
func Main(roles map[string]Role) {
	name := os.Getenv(roleVariable)
	if name == "" {
		return
	}
	role, ok := roles[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "no role %q\n", name)
		os.Exit(2)
	}
	link := newLink(os.Stdin, os.Stdout)
	if err := role(link); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Link is one end of the conversation. One goroutine at a time may receive, and one send.
type Link struct {
	in  *json.Decoder
	out *json.Encoder
}

func newLink(in io.Reader, out io.Writer) *Link {
	return &Link{json.NewDecoder(in), json.NewEncoder(out)}
}

// Receive waits for the next value. It returns io.EOF at the end.
func (l *Link) Receive(v any) error { return l.in.Decode(v) }

// Send sends a value.
func (l *Link) Send(v any) error { return l.out.Encode(v) }

// Process is a child as its parent sees it.
type Process struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	link   *Link
	read   chan struct{} // closed when standard error is at its end
	errors errorLines
}

// errorLines collects what a child writes to standard error.
type errorLines struct {
	mu    sync.Mutex // guards the fields below
	count int
	first []string
}

func (e *errorLines) collect(r io.Reader) {
	in := bufio.NewReaderSize(r, 64<<10)
	for {
		line, err := in.ReadString('\n')
		if line != "" {
			e.add(line)
		}
		if err != nil {
			return
		}
	}
}

func (e *errorLines) add(line string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.count++
	if len(e.first) < keptLines {
		e.first = append(e.first, line)
	}
}

// Start starts a child and sends it its configuration.
func Start(role string, config any) (*Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	// What this process has inherited is not passed on, so that the descriptors of a child are its own.
	if err := unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return nil, fmt.Errorf("close_range: %w", err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	errs, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &Process{cmd: cmd, in: in, link: newLink(out, in), read: make(chan struct{})}
	go func() {
		defer close(p.read)
		p.errors.collect(errs)
	}()
	if err := p.link.Send(config); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", role, err), p.Stop())
	}
	return p, nil
}

// PID is the number of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Receive waits for the next value that the child sends. A child that is silent for too long is ended.
func (p *Process) Receive(v any) error {
	timer := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() })
	defer timer.Stop()
	if err := p.link.Receive(v); err != nil {
		return fmt.Errorf("the child does not answer: %w", err)
	}
	return nil
}

// Ask sends a question and waits for the answer.
func (p *Process) Ask(question, answer any) error {
	if err := p.link.Send(question); err != nil {
		return err
	}
	return p.Receive(answer)
}

// End ends the child's input, by which it knows that it is to end. What it still says can be received.
func (p *Process) End() { _ = p.in.Close() }

// Stop ends the child and waits until it is gone. The error says if it did not end well.
func (p *Process) Stop() error {
	p.End()
	timer := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() })
	defer timer.Stop()
	<-p.read
	if err := p.cmd.Wait(); err != nil {
		_, first := p.Errors()
		return fmt.Errorf("child: %w\n%s", err, first)
	}
	return nil
}

// Errors returns how many lines the child has written to standard error, and the first of them.
func (p *Process) Errors() (count int, first []string) {
	p.errors.mu.Lock()
	defer p.errors.mu.Unlock()
	return p.errors.count, append([]string(nil), p.errors.first...)
}
