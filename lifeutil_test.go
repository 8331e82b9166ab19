//go:build linux

package netpoll_test

// Helpers of the tests about the life of connections and servers: a server with raw clients, a journal of callbacks,
// what descriptors are open, and tests that need a process of their own.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/stretchr/testify/require"
)

// lifeServer is an EventLoop under test with what its clients need.
type lifeServer struct {
	t      testing.TB
	loop   netpoll.EventLoop
	ln     netpoll.Listener
	served chan error // what Serve returned
}

// newLifeServer serves until the test ends, which fails if Serve or Shutdown then reports an error.
func newLifeServer(t testing.TB, network string, on netpoll.OnRequest, ops ...netpoll.Option) *lifeServer {
	t.Helper()
	ln, err := netpoll.CreateListener(network, localAddress(t, network))
	require.NoError(t, err)
	s := &lifeServer{t: t, ln: ln, served: make(chan error, 1)}
	s.loop, err = netpoll.NewEventLoop(on, ops...)
	require.NoError(t, err)
	go func() { s.served <- s.loop.Serve(ln) }()
	t.Cleanup(s.stop)
	return s
}

// stop shuts the server down. It is harmless after a Shutdown by the test.
func (s *lifeServer) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), eventTimeout)
	defer cancel()
	if err := s.loop.Shutdown(ctx); err != nil {
		s.t.Errorf("Shutdown: %v", err)
	}
	select {
	case err := <-s.served:
		if err != nil {
			s.t.Errorf("Serve: %v", err)
		}
		s.served <- nil
	case <-time.After(eventTimeout):
		s.t.Errorf("Serve has not returned %v after Shutdown", eventTimeout)
	}
}

// dial connects a client of package net to the server.
func (s *lifeServer) dial() net.Conn {
	s.t.Helper()
	c, err := net.Dial(s.ln.Addr().Network(), s.ln.Addr().String())
	require.NoError(s.t, err)
	s.t.Cleanup(func() { c.Close() })
	require.NoError(s.t, c.SetDeadline(time.Now().Add(2*eventTimeout)))
	return c
}

// dialedTo is rawPair with a deadline for the peer, so that a lost reply fails the test instead of hanging it.
func dialedTo(t testing.TB, network string) (conn netpoll.Connection, peer net.Conn) {
	t.Helper()
	conn, peer = rawPair(t, network)
	require.NoError(t, peer.SetDeadline(time.Now().Add(2*eventTimeout)))
	return conn, peer
}

// discard is an OnRequest that throws away what there is.
func discard(_ context.Context, conn netpoll.Connection) error {
	if err := conn.Reader().Skip(conn.Reader().Len()); err != nil {
		return err
	}
	return conn.Reader().Release()
}

// roundTrip sends msg and expects it back.
func roundTrip(c net.Conn, msg string) error {
	if _, err := io.WriteString(c, msg); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	buf := make([]byte, len(msg))
	if _, err := io.ReadFull(c, buf); err != nil {
		return fmt.Errorf("receive the echo: %w", err)
	}
	if string(buf) != msg {
		return fmt.Errorf("sent %q, received %q", msg, buf)
	}
	return nil
}

// halfCloser is what connections offer beyond net.Conn; those of package net do too.
type halfCloser interface {
	CloseRead() error
	CloseWrite() error
}

// reset closes a TCP connection so that the peer receives RST.
func reset(t testing.TB, c net.Conn) {
	t.Helper()
	require.NoError(t, c.(*net.TCPConn).SetLinger(0))
	require.NoError(t, c.Close())
}

// silent fails the test if something arrives on ch within a short while.
func silent[T any](t testing.TB, ch <-chan T, what string) {
	t.Helper()
	select {
	case v := <-ch:
		if conn, ok := any(v).(netpoll.Connection); ok { // whose fields are not for this goroutine to read
			t.Fatalf("%s too early, with %T", what, conn)
		}
		t.Fatalf("%s too early, with %v", what, v)
	case <-time.After(calmTime):
	}
}

// journal is what happened, in order. It may be used from any goroutine.
type journal struct {
	mu      sync.Mutex
	entries []string
}

func (j *journal) add(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries = append(j.entries, fmt.Sprintf(format, args...))
}

func (j *journal) list() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.entries)
}

func (j *journal) count(entry string) (n int) {
	for _, e := range j.list() {
		if e == entry {
			n++
		}
	}
	return n
}

// until waits for an entry.
func (j *journal) until(t testing.TB, entry string) {
	t.Helper()
	eventually(t, func() bool { return j.count(entry) > 0 })
}

// noting returns a close callback that leaves an entry.
func (j *journal) noting(entry string) netpoll.CloseCallback {
	return func(netpoll.Connection) error { j.add("%s", entry); return nil }
}

// socketID identifies the open file behind a descriptor for as long as the file lives.
func socketID(fd int) (id uint64, err error) {
	var st syscall.Stat_t
	if err := syscall.Fstat(fd, &st); err != nil {
		return 0, fmt.Errorf("fstat %d: %w", fd, err)
	}
	return st.Ino, nil
}

// idOf is socketID of a connection that must be open.
func idOf(t testing.TB, c netpoll.Connection) uint64 {
	t.Helper()
	id, err := socketID(c.(netpoll.Conn).Fd())
	require.NoError(t, err)
	return id
}

// socketIsOpen reports whether this process has a descriptor of the socket.
func socketIsOpen(id uint64) bool {
	want := "socket:[" + strconv.FormatUint(id, 10) + "]"
	return slices.Contains(mapValues(openFiles()), want)
}

func mapValues(m map[int]string) (list []string) {
	for _, v := range m {
		list = append(list, v)
	}
	return list
}

// closeFd closes a descriptor that is the caller's own.
func closeFd(fd int) error { return os.NewSyscallError("close", syscall.Close(fd)) }

// isConnClosed reports whether err is that of a use after Close on this side.
func isConnClosed(err error) bool {
	return errors.Is(err, netpoll.ErrConnClosed) && !errors.Is(err, netpoll.ErrEOF)
}

// errno returns the error of the system that err wraps.
func errno(err error) (no syscall.Errno, ok bool) {
	ok = errors.As(err, &no)
	return no, ok
}

// openFiles returns what each descriptor of the process stands for.
func openFiles() map[int]string {
	files := make(map[int]string)
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		panic(err)
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			files[fd] = target
		}
	}
	return files
}

// countFiles returns how many descriptors stand for something that begins with prefix.
func countFiles(prefix string) (n int) {
	for _, target := range openFiles() {
		if strings.HasPrefix(target, prefix) {
			n++
		}
	}
	return n
}

// noLeak fails the test if, at its end, there are more sockets or goroutines than now.
func noLeak(t testing.TB) {
	t.Helper()
	sockets, goroutines := countFiles("socket:"), runtime.NumGoroutine()
	t.Cleanup(func() {
		eventually(t, func() bool { return countFiles("socket:") <= sockets })
		// The pools keep some workers for a moment, so a few goroutines more are no leak; one for each of the many
		// connections of a test would be.
		eventually(t, func() bool { return runtime.NumGoroutine() <= goroutines+20 })
	})
}

// cpuDuring returns how much processor time the process used while d passed.
func cpuDuring(d time.Duration) time.Duration {
	before := processorTime()
	time.Sleep(d)
	return processorTime() - before
}

func processorTime() time.Duration {
	var ru syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil {
		panic(err)
	}
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}

// idles fails the test if the process keeps a processor busy although nothing is to be done.
func idles(t testing.TB) {
	t.Helper()
	const window = 300 * time.Millisecond
	used := cpuDuring(window)
	require.Less(t, used, window/2, "processor time used in %v with nothing to do", window)
}

// lockedLog is a bytes.Buffer for several goroutines.
type lockedLog struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedLog) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedLog) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// captureLog collects what the library logs until the test ends.
func captureLog(t testing.TB) *lockedLog {
	t.Helper()
	log := new(lockedLog)
	netpoll.SetLoggerOutput(log)
	t.Cleanup(func() { netpoll.SetLoggerOutput(os.Stderr) })
	return log
}

// childVariable names the test that a process was started for.
const childVariable = "NETPOLL_TEST_CHILD"

// inOwnProcess runs the calling test once more in a process of its own, because it changes what is shared by the whole
// process. It returns true in that process; in the other it returns false when that has ended well.
func inOwnProcess(t *testing.T) bool {
	t.Helper()
	if os.Getenv(childVariable) == t.Name() {
		return true
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=120s")
	cmd.Env = append(os.Environ(), childVariable+"="+t.Name())
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "in a process of its own:\n%s", out)
	require.Contains(t, string(out), "--- PASS: "+t.Name(), "the test did not run in a process of its own")
	return false
}
