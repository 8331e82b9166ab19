//go:build faults && linux && !netconn && !kqsim

package torture

// The environment in which scenarios run while system calls fail: servers and clients that give up in order when
// anything goes wrong, and the look around afterwards for what was left behind.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
)

// endTime is how long a scenario may take to end, and what it leaves to vanish. It takes a thousandth of that.
const endTime = 10 * time.Second

// env is the environment of a scenario. A scenario returns the first error that a user of the library would see.
type env struct {
	network string
	dir     string // for Unix sockets

	prepared atomic.Int64 // connections that servers have prepared
	closed   atomic.Int64 // and that have been closed

	mu       sync.Mutex // guards the fields below
	undo     []func()
	conns    []netpoll.Connection // all there have been
	wrongs   []error              // mistakes that no fault excuses
	serveErr error                // of the first Serve that failed
}

// socketsMade gives each Unix socket a name of its own.
var socketsMade atomic.Int64

// later calls f when the scenario is over, before what was given to it earlier.
func (e *env) later(f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.undo = append(e.undo, f)
}

// wrong notes something that no failing system call excuses.
func (e *env) wrong(format string, args ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.wrongs = append(e.wrongs, fmt.Errorf(format, args...))
}

// clear undoes everything, and returns the error of a server and what went wrong.
func (e *env) clear() (serveErr, wrong error) {
	e.mu.Lock()
	undo := e.undo
	e.mu.Unlock()
	for _, f := range slices.Backward(undo) {
		f()
	}
	if p, c := e.prepared.Load(), e.closed.Load(); p != c {
		e.wrong("%d connections were prepared, the close callbacks of %d ran", p, c)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.serveErr, errors.Join(e.wrongs...)
}

// address is one for a new listener.
func (e *env) address() string {
	if e.network != "unix" {
		return "127.0.0.1:0"
	}
	return filepath.Join(e.dir, fmt.Sprint(socketsMade.Add(1)))
}

// serve runs a server until the scenario is over.
func (e *env) serve(on netpoll.OnRequest, opts ...netpoll.Option) (net.Addr, error) {
	ln, err := netpoll.CreateListener(e.network, e.address())
	if err != nil {
		return nil, err
	}
	_, err = e.serveOn(ln, on, opts...)
	return ln.Addr(), err
}

// serveOn closes ln as soon as no server accepts from it any more, so that no client waits for a server that has
// failed.
func (e *env) serveOn(ln net.Listener, on netpoll.OnRequest, opts ...netpoll.Option) (netpoll.EventLoop, error) {
	loop, err := netpoll.NewEventLoop(on, append(opts, netpoll.WithOnPrepare(e.onPrepare))...)
	if err != nil {
		_ = ln.Close()
		return nil, err
	}
	served := make(chan error, 1)
	go func() {
		err := loop.Serve(ln)
		_ = ln.Close()
		served <- err
	}()
	e.later(func() {
		ctx, cancel := context.WithTimeout(context.Background(), endTime/2)
		defer cancel()
		if err := loop.Shutdown(ctx); err != nil {
			e.wrong("Shutdown: %w", err)
		}
		err := <-served
		e.mu.Lock()
		defer e.mu.Unlock()
		e.serveErr = errors.Join(e.serveErr, err)
	})
	return loop, nil
}

func (e *env) onPrepare(conn netpoll.Connection) context.Context {
	e.prepared.Add(1)
	e.know(conn)
	_ = conn.AddCloseCallback(func(netpoll.Connection) error {
		e.closed.Add(1)
		return nil
	})
	return context.Background()
}

// dial connects to addr until the scenario is over.
func (e *env) dial(addr net.Addr) (netpoll.Connection, error) {
	conn, err := netpoll.DialConnection(addr.Network(), addr.String(), endTime)
	if err != nil {
		return nil, err
	}
	e.know(conn)
	e.later(func() { _ = conn.Close() })
	return conn, nil
}

// connect returns a connection to a server of its own.
func (e *env) connect(on netpoll.OnRequest, opts ...netpoll.Option) (netpoll.Connection, error) {
	addr, err := e.serve(on, opts...)
	if err != nil {
		return nil, err
	}
	return e.dial(addr)
}

func (e *env) know(conn netpoll.Connection) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.conns = append(e.conns, conn)
}

// takeRest reads what closed connections still have, which otherwise is kept for programs that know them.
func (e *env) takeRest() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, conn := range e.conns {
		_ = conn.Reader().Skip(conn.Reader().Len())
		_ = conn.Reader().Release()
	}
}

// plainListener is one of package net, until the scenario is over.
func (e *env) plainListener() (net.Listener, error) {
	ln, err := net.Listen(e.network, e.address())
	if err != nil {
		return nil, err
	}
	e.later(func() { _ = ln.Close() })
	return ln, nil
}

// exchange sends text and expects it back.
func (e *env) exchange(conn netpoll.Connection, text string) error {
	if _, err := conn.Writer().WriteString(text); err != nil {
		return err
	}
	if err := conn.Writer().Flush(); err != nil {
		return err
	}
	return e.expect(conn, text)
}

// expect reads text.
func (e *env) expect(conn netpoll.Connection, text string) error {
	got, err := conn.Reader().ReadString(len(text))
	if err != nil {
		return err
	}
	if got != text {
		e.wrong("sent %.40q, and %.40q came back", text, got)
	}
	return nil
}

// soon waits until cond holds, and reports whether it does.
func (e *env) soon(cond func() bool) bool {
	for limit := time.Now().Add(endTime / 2); !cond(); time.Sleep(50 * time.Microsecond) {
		if time.Now().After(limit) {
			return false
		}
	}
	return true
}

// prefixOf notes if got is not the beginning of want.
func (e *env) prefixOf(want, got []byte) {
	if !bytes.HasPrefix(want, got) {
		e.wrong("%d bytes arrived that are not the beginning of the %d that were sent", len(got), len(want))
	}
}

// allOf runs n calls of f at once and returns the first error of any.
func allOf(n int, f func(i int) error) error {
	errs := make(chan error, n)
	for i := range n {
		go func() { errs <- f(i) }()
	}
	var first error
	for range n {
		if err := <-errs; first == nil {
			first = err
		}
	}
	return first
}

// orClose makes a handler close the connection when it fails: a client must not wait for an answer that never comes.
func orClose(on netpoll.OnRequest) netpoll.OnRequest {
	return func(ctx context.Context, conn netpoll.Connection) error {
		err := on(ctx, conn)
		if err != nil {
			_ = conn.Close()
		}
		return err
	}
}

// belongings are the resources of a process in which a leak would show.
type belongings struct {
	sockets, goroutines int
	blocks              int64
}

func (b belongings) String() string {
	return fmt.Sprintf("%d sockets, %d goroutines, %d blocks", b.sockets, b.goroutines, b.blocks)
}

func belongingsNow() belongings {
	return belongings{testkit.OpenSockets(), busyGoroutines(), netpoll.BlocksOut()}
}

// busyGoroutines counts goroutines, without those of the library's pool that wait for a task.
func busyGoroutines() (n int) {
	for trace := range strings.SplitSeq(testkit.Stacks(), "\n\n") {
		_, frames, _ := strings.Cut(trace, "\n")
		if !strings.HasPrefix(frames, "github.com/cloudwego/netpoll/internal/runner.(*worker).work") {
			n++
		}
	}
	return n
}

// back waits until the process has no more than it had before e was run in, and returns what it has too much.
func (b belongings) back(e *env) error {
	limit := time.Now().Add(endTime / 2)
	for pause := 20 * time.Microsecond; ; pause = min(2*pause, 5*time.Millisecond) {
		e.takeRest()
		now := belongingsNow()
		if now.sockets <= b.sockets && now.goroutines <= b.goroutines && now.blocks == b.blocks {
			return nil
		}
		if time.Now().After(limit) {
			return fmt.Errorf("left behind: there are %v, before there were %v", now, b)
		}
		runtime.Gosched()
		time.Sleep(pause)
	}
}
