//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package kqueue_test

// This file holds the recorder of the conformance scenarios: each scenario leaves a short trace of what a kqueue said,
// in words that are the same on every system if the systems are. On macOS and the BSDs the kernel is recorded, on Linux
// the model. With KQTRACE=file in the environment the traces are kept in that file.

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/kqueue"
)

// scenario is one question to a kqueue.
type scenario struct {
	name string
	run  func(t *trace)
}

// scenarios are all of them, in the order of the recordings in testdata.
func scenarios() []scenario {
	return slices.Concat(readScenarios, writeScenarios, resetScenarios, changeScenarios, waitScenarios)
}

// trace is one run of a scenario.
type trace struct {
	*testing.T
	kq    int
	lines []string

	// witness is a kqueue that shows, outside of the trace, when no event is on its way any more.
	witness int
	fds     []int
}

// inOrder makes a model that is in chaos, which says something else each time, one that can be recorded, until the
// function that it returns is called. Where kqueues are a kernel's there is nothing to do.
var inOrder = func() (back func()) { return func() {} }

// runScenarios returns the traces by the names of the scenarios.
func runScenarios(t *testing.T) map[string]string {
	traces := make(map[string]string)
	for _, s := range scenarios() {
		t.Run(s.name, func(t *testing.T) {
			x := newTrace(t)
			s.run(x)
			for _, fd := range slices.Clone(x.fds) {
				x.close(fd)
			}
			var text strings.Builder
			for _, line := range x.lines {
				fmt.Fprintf(&text, "    %s\n", line)
			}
			traces[s.name] = text.String()
		})
	}
	return traces
}

func newTrace(t *testing.T) *trace {
	x := &trace{T: t}
	for _, kq := range []*int{&x.kq, &x.witness} {
		var err error
		*kq, err = kqueue.Open()
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, kqueue.Close(*kq)) })
	}
	return x
}

// TestConformanceLeavesTraces runs the scenarios and keeps the traces if it is asked to.
func TestConformanceLeavesTraces(t *testing.T) {
	defer inOrder()()
	traces := runScenarios(t)
	require.Len(t, traces, 52)
	var text strings.Builder
	for _, s := range scenarios() {
		require.NotEmpty(t, traces[s.name], s.name)
		text.WriteString(s.name + "\n" + traces[s.name])
	}
	if file := os.Getenv("KQTRACE"); file != "" {
		require.NoError(t, os.WriteFile(file, []byte(text.String()), 0o644))
	}
}

func (t *trace) logf(format string, args ...any) {
	t.lines = append(t.lines, fmt.Sprintf(format, args...))
}

func (t *trace) ok(err error) {
	t.Helper()
	require.NoError(t, err)
}

func ms(n int) *time.Duration {
	d := time.Duration(n) * time.Millisecond
	return &d
}

func errnoName(n int64) string {
	if n == 0 {
		return "0"
	}
	if name := unix.ErrnoName(syscall.Errno(n)); name != "" {
		return name
	}
	return syscall.Errno(n).Error()
}

func errName(err error) string {
	var no syscall.Errno
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &no):
		return errnoName(int64(no))
	}
	return err.Error()
}

// call is kevent of the kqueue under test.
func (t *trace) call(changes, events []kqueue.Event, timeout *time.Duration) (int, error) {
	return kqueue.Call(t.kq, changes, events, timeout)
}

func (t *trace) chg(fd, filter, flags int, udata uintptr) error {
	return kqueue.Control(t.kq, kqueue.Change{Ident: fd, Filter: filter, Flags: flags, Udata: udata})
}

// user changes the user filter.
func (t *trace) user(flags int, fflags uint32, udata uintptr) error {
	c := kqueue.Change{Ident: 1, Filter: kqueue.User, Flags: flags, Fflags: fflags, Udata: udata}
	return kqueue.Control(t.kq, c)
}

// hasUser adds the user filter, or notes that there is none.
func (t *trace) hasUser(flags int) bool {
	if !kqueue.HaveUser || t.user(flags, 0, 11) != nil {
		t.logf("n/a")
		return false
	}
	return true
}

func oneChange(fd, filter, flags int, udata uintptr) []kqueue.Event {
	list := kqueue.NewEvents(1)
	list[0].Set(kqueue.Change{Ident: fd, Filter: filter, Flags: flags, Udata: udata})
	return list
}

// show describes an event. The room of a socket differs everywhere, so it is only distinguished from none.
func (t *trace) show(e kqueue.Info) string {
	if e.Flags&kqueue.Error != 0 {
		return fmt.Sprintf("ERROR(%s)", errnoName(e.Data)) + showUdata(e)
	}
	var s string
	switch {
	case e.Filter == kqueue.Read:
		s = fmt.Sprintf("READ data=%d", e.Data)
	case e.Filter == kqueue.Write && e.Data > 0:
		s = "WRITE data>0"
	case e.Filter == kqueue.Write:
		s = "WRITE data=0"
	default:
		s = fmt.Sprintf("USER data=%d", e.Data)
	}
	if e.Flags&kqueue.EOF != 0 {
		s += " EOF"
	}
	if e.Fflags != 0 && e.Filter != kqueue.User {
		s += " fflags=" + errnoName(int64(e.Fflags))
	}
	return s + showUdata(e)
}

func showUdata(e kqueue.Info) string {
	if e.Udata == 0 {
		return ""
	}
	return fmt.Sprintf(" udata=%d", e.Udata)
}

func flagNames(flags int) string {
	var names []string
	for _, f := range []struct {
		bit  int
		name string
	}{
		{kqueue.Add, "ADD"}, {kqueue.Delete, "DELETE"}, {kqueue.Enable, "ENABLE"}, {kqueue.Disable, "DISABLE"},
		{kqueue.Oneshot, "ONESHOT"}, {kqueue.Clear, "CLEAR"}, {kqueue.Receipt, "RECEIPT"},
		{kqueue.Dispatch, "DISPATCH"}, {kqueue.EOF, "EOF"}, {kqueue.Error, "ERROR"},
	} {
		if flags&f.bit != 0 {
			names = append(names, f.name)
			flags &^= f.bit
		}
	}
	if flags != 0 {
		names = append(names, fmt.Sprintf("%#x", flags))
	}
	return strings.Join(names, "|")
}

// poll returns one batch of events, of at most room, and waits for it if timeout is not 0.
func (t *trace) poll(timeout *time.Duration, room int) (list []kqueue.Info) {
	t.Helper()
	events := kqueue.NewEvents(room)
	for {
		n, err := kqueue.Wait(t.kq, events, timeout)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			t.logf("kevent: %s", errName(err))
			return nil
		}
		for i := range n {
			list = append(list, events[i].Decode())
		}
		return list
	}
}

// rec notes what is reported when nothing is on its way any more.
func (t *trace) rec(label string) {
	t.Helper()
	t.settle()
	t.recEvents(label, t.poll(ms(0), 16))
}

func (t *trace) recEvents(label string, events []kqueue.Info) {
	var words []string
	for _, e := range events {
		words = append(words, t.show(e))
	}
	slices.Sort(words)
	if len(words) == 0 {
		words = []string{"-"}
	}
	t.logf("%s: %s", label, strings.Join(words, " ; "))
}

// settle waits until the state of all sockets, as the witness sees it, stays the same.
func (t *trace) settle() {
	t.Helper()
	const calm = 6 // looks in a row that must agree
	deadline := time.Now().Add(10 * time.Second)
	last, same := t.look(), 1
	for same < calm {
		if time.Now().After(deadline) {
			t.Fatalf("the sockets do not settle: %s", last)
		}
		time.Sleep(time.Millisecond) // sets the pace of the looks, on which alone it depends how long this takes
		if now := t.look(); now == last {
			same++
		} else {
			last, same = now, 1
		}
	}
}

// look says how much every socket has to read and room to write, and what has ended.
func (t *trace) look() string {
	events := kqueue.NewEvents(2*len(t.fds) + 1)
	for _, fd := range t.fds { // again and again, as a descriptor may be another's by now
		for _, filter := range []int{kqueue.Read, kqueue.Write} {
			_ = kqueue.Control(t.witness, kqueue.Change{Ident: fd, Filter: filter, Flags: kqueue.Add})
		}
	}
	n, err := kqueue.Wait(t.witness, events, ms(0))
	if err != nil && err != error(syscall.EINTR) {
		t.Fatal(err)
	}
	var words []string
	for i := range max(n, 0) {
		e := events[i].Decode()
		words = append(words, fmt.Sprint(e.Ident, e.Filter, e.Flags&kqueue.EOF, e.Fflags, e.Data))
	}
	slices.Sort(words)
	return strings.Join(words, "; ")
}

// inSystemCall runs f in a goroutine and returns when that is in a system call.
func (t *trace) inSystemCall(f func()) (done <-chan struct{}) {
	t.Helper()
	head, ended := make(chan string, 1), make(chan struct{})
	go func() {
		defer close(ended)
		var buf [64]byte
		name, _, _ := strings.Cut(string(buf[:runtime.Stack(buf[:], false)]), "[")
		head <- name
		f()
	}()
	name := <-head
	require.Eventually(t, func() bool {
		buf := make([]byte, 1<<20)
		all := string(buf[:runtime.Stack(buf, true)])
		return strings.Contains(all, name+"[syscall")
	}, 10*time.Second, time.Millisecond)
	return ended
}
