//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll_test

// This file holds what the tests of listeners, servers and dialers share.

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll"
)

// listenOn returns a listener of this package on a fresh address.
func listenOn(t *testing.T, network string) netpoll.Listener {
	t.Helper()
	ln, err := netpoll.CreateListener(network, localAddress(t, network))
	require.NoError(t, err)
	t.Cleanup(func() { ln.Close() })
	return ln
}

// plainListenOn returns a listener of package net on a fresh address.
func plainListenOn(t *testing.T, network string) net.Listener {
	t.Helper()
	ln, err := net.Listen(network, localAddress(t, network))
	require.NoError(t, err)
	t.Cleanup(func() { ln.Close() })
	return ln
}

// plainDial connects to a listener by package net.
func plainDial(t *testing.T, addr net.Addr) net.Conn {
	t.Helper()
	conn, err := net.Dial(addr.Network(), addr.String())
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn
}

// running is an event loop with one Serve under way.
type running struct {
	loop   netpoll.EventLoop
	served chan error // what Serve returned
}

// serveOn serves ln until the test ends, at the latest.
func serveOn(t *testing.T, ln net.Listener, onRequest netpoll.OnRequest, ops ...netpoll.Option) running {
	t.Helper()
	loop, err := netpoll.NewEventLoop(onRequest, ops...)
	require.NoError(t, err)
	r := running{loop: loop, served: make(chan error, 1)}
	go func() { r.served <- loop.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), eventTimeout)
		defer cancel()
		_ = loop.Shutdown(ctx)
	})
	return r
}

// requireEcho proves that the server behind conn echoes.
func requireEcho(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	require.NoError(t, conn.SetDeadline(time.Now().Add(eventTimeout)))
	_, err := conn.Write([]byte(text)) // io.WriteString would find that of a Connection, which sends nothing by itself
	require.NoError(t, err)
	got := make([]byte, len(text))
	_, err = io.ReadFull(conn, got)
	require.NoError(t, err)
	require.Equal(t, text, string(got))
}

// requireEnd proves that the server has closed conn.
func requireEnd(t *testing.T, conn net.Conn) {
	t.Helper()
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(eventTimeout)))
	n, err := conn.Read(make([]byte, 1))
	require.Zero(t, n)
	require.ErrorIs(t, err, io.EOF)
}

// inSubprocess runs body in a process of its own, where it may change what belongs to the whole process. The test
// function must do nothing else.
func inSubprocess(t *testing.T, body func(t *testing.T)) {
	t.Helper()
	const variable = "NETPOLL_TEST_SUBPROCESS"
	if os.Getenv(variable) == t.Name() {
		body(t)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*eventTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^"+t.Name()+"$", "-test.count=1", "-test.v")
	cmd.Env = append(os.Environ(), variable+"="+t.Name())
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "in the subprocess:\n%s", out)
	require.Contains(t, string(out), "--- PASS: "+t.Name(), "the subprocess ran nothing")
}

// descriptorHog takes descriptors until the process has none left.
type descriptorHog struct{ files []*os.File }

// takeAll leaves the process without a free descriptor.
func (h *descriptorHog) takeAll(t *testing.T) {
	t.Helper()
	for {
		f, err := os.Open(os.DevNull)
		if err != nil {
			require.ErrorIs(t, err, unix.EMFILE)
			return
		}
		h.files = append(h.files, f)
	}
}

// free gives n descriptors back.
func (h *descriptorHog) free(n int) {
	for _, f := range h.files[:n] {
		f.Close()
	}
	h.files = h.files[n:]
}

// limitDescriptors bounds the descriptors of this process, which must be a subprocess.
func limitDescriptors(t *testing.T, n uint64) *descriptorHog {
	t.Helper()
	var limit unix.Rlimit
	setNumber(&limit.Cur, n)
	setNumber(&limit.Max, n)
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
	return new(descriptorHog)
}

// setNumber sets a field whose type differs between systems.
func setNumber[T int64 | uint64](field *T, n uint64) { *field = T(n) }

// lines is a log that can be waited for.
type lines struct {
	mu    sync.Mutex
	text  bytes.Buffer
	wrote chan struct{} // holds one mark for everything written since the last one was taken
}

func newLines() *lines { return &lines{wrote: make(chan struct{}, 1)} }

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p)
	select {
	case l.wrote <- struct{}{}:
	default:
	}
	return len(p), nil
}

// count is the number of lines written so far.
func (l *lines) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Count(l.text.Bytes(), []byte("\n"))
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// socketOption reads an integer option.
func socketOption(t *testing.T, fd, level, option int) int {
	t.Helper()
	if option == noOption {
		return 0
	}
	v, err := unix.GetsockoptInt(fd, level, option)
	require.NoError(t, err)
	return v
}

// noOption is an option that the system does not have.
const noOption = -1

// requireKeepAlive checks one of the keepalive times, on systems that have them for each socket.
func requireKeepAlive(t *testing.T, want, fd, option int) {
	t.Helper()
	if option != noOption {
		require.Equal(t, want, socketOption(t, fd, unix.IPPROTO_TCP, option))
	}
}

// requireCloseOnExec proves that fd does not reach child processes.
func requireCloseOnExec(t *testing.T, fd int) {
	t.Helper()
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	require.NoError(t, err)
	require.NotZero(t, flags&unix.FD_CLOEXEC, "not close-on-exec")
}
