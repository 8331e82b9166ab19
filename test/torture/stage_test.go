//go:build faults && linux && !netconn && !kqsim

package torture

// The stage on which scenes are played while system calls fail: servers and clients that give up in order when anything
// goes wrong, and the look around afterwards for what was left behind.

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

// endTime is how long a scene may take to end, and what it leaves to vanish. It takes a thousandth of that.
const endTime = 10 * time.Second

// stage is what a scene is played on. A scene returns the first error that a user of the library would see.
type stage struct {
	network string
	dir     string // for Unix sockets

	prepared atomic.Int64 // connections that servers have prepared
	closed   atomic.Int64 // and that have been closed

	mu       sync.Mutex // guards the fields below
	undo     []func()
	conns    []netpoll.Connection // all there have been
	wrongs   []error              // what must not happen whatever fails
	serveErr error                // of the first Serve that failed
}

// socketsMade gives each Unix socket a name of its own.
var socketsMade atomic.Int64

// later calls f when the scene is over, before what was given to it earlier.
func (s *stage) later(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.undo = append(s.undo, f)
}

// wrong notes something that no failing system call excuses.
func (s *stage) wrong(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wrongs = append(s.wrongs, fmt.Errorf(format, args...))
}

// clear undoes everything, and returns the error of a server and what went wrong.
func (s *stage) clear() (serveErr, wrong error) {
	s.mu.Lock()
	undo := s.undo
	s.mu.Unlock()
	for _, f := range slices.Backward(undo) {
		f()
	}
	if p, c := s.prepared.Load(), s.closed.Load(); p != c {
		s.wrong("%d connections were prepared, the close callbacks of %d ran", p, c)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.serveErr, errors.Join(s.wrongs...)
}

// address is one for a new listener.
func (s *stage) address() string {
	if s.network != "unix" {
		return "127.0.0.1:0"
	}
	return filepath.Join(s.dir, fmt.Sprint(socketsMade.Add(1)))
}

// serve runs a server until the scene is over.
func (s *stage) serve(on netpoll.OnRequest, opts ...netpoll.Option) (net.Addr, error) {
	ln, err := netpoll.CreateListener(s.network, s.address())
	if err != nil {
		return nil, err
	}
	_, err = s.serveOn(ln, on, opts...)
	return ln.Addr(), err
}

// serveOn closes ln as soon as nobody accepts from it any more, so that no client waits for a server that has failed.
func (s *stage) serveOn(ln net.Listener, on netpoll.OnRequest, opts ...netpoll.Option) (netpoll.EventLoop, error) {
	loop, err := netpoll.NewEventLoop(on, append(opts, netpoll.WithOnPrepare(s.onPrepare))...)
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
	s.later(func() {
		ctx, cancel := context.WithTimeout(context.Background(), endTime/2)
		defer cancel()
		if err := loop.Shutdown(ctx); err != nil {
			s.wrong("Shutdown: %w", err)
		}
		err := <-served
		s.mu.Lock()
		defer s.mu.Unlock()
		s.serveErr = errors.Join(s.serveErr, err)
	})
	return loop, nil
}

func (s *stage) onPrepare(conn netpoll.Connection) context.Context {
	s.prepared.Add(1)
	s.know(conn)
	_ = conn.AddCloseCallback(func(netpoll.Connection) error {
		s.closed.Add(1)
		return nil
	})
	return context.Background()
}

// dial connects to addr until the scene is over.
func (s *stage) dial(addr net.Addr) (netpoll.Connection, error) {
	conn, err := netpoll.DialConnection(addr.Network(), addr.String(), endTime)
	if err != nil {
		return nil, err
	}
	s.know(conn)
	s.later(func() { _ = conn.Close() })
	return conn, nil
}

// connect returns a connection to a server of its own.
func (s *stage) connect(on netpoll.OnRequest, opts ...netpoll.Option) (netpoll.Connection, error) {
	addr, err := s.serve(on, opts...)
	if err != nil {
		return nil, err
	}
	return s.dial(addr)
}

func (s *stage) know(conn netpoll.Connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns = append(s.conns, conn)
}

// takeRest reads what closed connections still have, which otherwise is kept for whoever knows them.
func (s *stage) takeRest() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, conn := range s.conns {
		_ = conn.Reader().Skip(conn.Reader().Len())
		_ = conn.Reader().Release()
	}
}

// plainListener is one of package net, until the scene is over.
func (s *stage) plainListener() (net.Listener, error) {
	ln, err := net.Listen(s.network, s.address())
	if err != nil {
		return nil, err
	}
	s.later(func() { _ = ln.Close() })
	return ln, nil
}

// exchange sends text and expects it back.
func (s *stage) exchange(conn netpoll.Connection, text string) error {
	if _, err := conn.Writer().WriteString(text); err != nil {
		return err
	}
	if err := conn.Writer().Flush(); err != nil {
		return err
	}
	return s.expect(conn, text)
}

// expect reads text.
func (s *stage) expect(conn netpoll.Connection, text string) error {
	got, err := conn.Reader().ReadString(len(text))
	if err != nil {
		return err
	}
	if got != text {
		s.wrong("sent %.40q, and %.40q came back", text, got)
	}
	return nil
}

// soon waits until cond holds, and reports whether it does.
func (s *stage) soon(cond func() bool) bool {
	for limit := time.Now().Add(endTime / 2); !cond(); time.Sleep(50 * time.Microsecond) {
		if time.Now().After(limit) {
			return false
		}
	}
	return true
}

// prefixOf notes if got is not the beginning of want.
func (s *stage) prefixOf(want, got []byte) {
	if !bytes.HasPrefix(want, got) {
		s.wrong("%d bytes arrived that are not the beginning of the %d that were sent", len(got), len(want))
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

// belongings are what a process has that a leak would show in.
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

// back waits until the process has no more than it had before s was played on, and returns what it has too much.
func (b belongings) back(s *stage) error {
	limit := time.Now().Add(endTime / 2)
	for pause := 20 * time.Microsecond; ; pause = min(2*pause, 5*time.Millisecond) {
		s.takeRest()
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
