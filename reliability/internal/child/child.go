// Package child runs parts of a program in processes of their own: the program starts itself again with the name of a
// role in its environment. So the memory and the descriptors of a server can be measured separately, and a test needs no
// other binary.
//
// The two processes exchange JSON values over the child's standard input and output. A child exits at the end of its
// input.
package child

// This file holds both ends of the link, and the start of a child.

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

// patience is how long a child may take to answer, and to exit. It is long because some programs overload the machine on
// purpose.
const patience = time.Minute

// keptLines is how many lines of a child's standard error are kept. The others are only counted.
const keptLines = 100

// Role is what a child does. It returns at the end of the link.
type Role func(link *Link) error

// Main runs the role in a child, and does not return there. In another process it does nothing. main, or TestMain, must
// call it first.
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

// Link is one end of the connection between the two processes. One goroutine at a time may receive, and one may send.
type Link struct {
	in  *json.Decoder
	out *json.Encoder
}

func newLink(in io.Reader, out io.Writer) *Link {
	return &Link{json.NewDecoder(in), json.NewEncoder(out)}
}

// Receive waits for the next value. It returns io.EOF at the end of the link.
func (l *Link) Receive(v any) error { return l.in.Decode(v) }

// Send sends a value.
func (l *Link) Send(v any) error { return l.out.Encode(v) }

// Process is a child as its parent sees it.
type Process struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	link   *Link
	read   chan struct{} // closed at the end of standard error
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
	// The child must not inherit descriptors of this process, so that only its own are counted.
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

// PID returns the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Receive waits for the next value that the child sends. It kills a child that takes too long.
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

// End closes the child's input, so that the child exits. Values that it still sends can be received.
func (p *Process) End() { _ = p.in.Close() }

// Stop ends the child and waits until it has exited. It returns an error if the child has failed.
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
