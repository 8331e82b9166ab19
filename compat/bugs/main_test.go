package bugs

// What the tests share: connected pairs, servers, and waiting for events.

import (
	"bytes"
	"context"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
)

const (
	// patience is how long a test waits for an event that must happen. Only a failing test waits that long.
	patience = 10 * time.Second
	// calm is how long a test waits to see that an event does not happen.
	calm = 100 * time.Millisecond
	// short is a timeout of the library that the test lets expire.
	short = 50 * time.Millisecond
	// tooLarge is more than the kernel takes for a peer that does not read.
	tooLarge = 24 << 20
)

// must ends the test if err is not nil.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// await returns the value that arrives on ch. After patience it ends the test with what, the event that did not come.
func await[T any](t testing.TB, ch <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-time.After(patience):
		t.Fatalf("%s: not within %v", what, patience)
	}
	return v
}

// eventually waits until cond holds. After patience it ends the test with what, the event that did not come.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// async calls f in a goroutine and delivers its result.
func async(f func() error) <-chan error {
	result := make(chan error, 1)
	go func() { result <- f() }()
	return result
}

// blocked is async, but returns only when f is blocked.
func blocked(t testing.TB, f func() error) <-chan error {
	t.Helper()
	id := make(chan string, 1)
	result := async(func() error {
		var head [64]byte
		id <- strings.Fields(string(head[:runtime.Stack(head[:], false)]))[1]
		return f()
	})
	mark := "goroutine " + await(t, id, "the start of a goroutine") + " "
	eventually(t, "a call that waits", func() bool {
		select {
		case err := <-result:
			t.Fatalf("returned instead of waiting, with the error %v", err)
		default:
		}
		buf := make([]byte, 1<<20)
		for trace := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if state, ok := strings.CutPrefix(trace, mark); ok {
				return strings.HasPrefix(state, "[select") || strings.HasPrefix(state, "[chan receive")
			}
		}
		return false
	})
	return result
}

// pair returns a dialed connection and its peer, which is one of package net.
func pair(t testing.TB) (conn netpoll.Connection, peer *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer ln.Close()
	conn, err = netpoll.DialConnection("tcp", ln.Addr().String(), patience)
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	accepted, err := ln.Accept()
	must(t, err)
	t.Cleanup(func() { accepted.Close() })
	return conn, accepted.(*net.TCPConn)
}

// server is an event loop that runs until the test ends.
type server struct {
	addr   string
	loop   netpoll.EventLoop
	ln     netpoll.Listener
	served <-chan error
}

func serve(t testing.TB, address string, onRequest netpoll.OnRequest, opts ...netpoll.Option) *server {
	t.Helper()
	ln, err := netpoll.CreateListener("tcp", address)
	must(t, err)
	loop, err := netpoll.NewEventLoop(onRequest, opts...)
	must(t, err)
	s := &server{addr: ln.Addr().String(), loop: loop, ln: ln}
	s.served = async(func() error { return loop.Serve(ln) })
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = loop.Shutdown(ctx)
	})
	return s
}

// dial returns a connection of package net to the server.
func (s *server) dial(t testing.TB) *net.TCPConn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", s.addr, patience)
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	must(t, conn.SetDeadline(time.Now().Add(2*patience)))
	return conn.(*net.TCPConn)
}

// accepted returns an accepted connection without a handler that reads, and its peer.
func accepted(t testing.TB) (conn netpoll.Connection, peer *net.TCPConn) {
	t.Helper()
	conns := make(chan netpoll.Connection, 1)
	s := serve(t, "127.0.0.1:0", nil, netpoll.WithOnConnect(
		func(ctx context.Context, c netpoll.Connection) context.Context {
			conns <- c
			return ctx
		}))
	peer = s.dial(t)
	return await(t, conns, "OnConnect"), peer
}

// send writes to a peer of package net that has room for it.
func send(t testing.TB, peer net.Conn, text string) {
	t.Helper()
	_, err := peer.Write([]byte(text))
	must(t, err)
}

// readQuietly reads from peer until nothing has arrived for a while, and returns how many bytes it has read.
func readQuietly(t testing.TB, peer net.Conn) (n int) {
	t.Helper()
	buf := make([]byte, 1<<20)
	for {
		must(t, peer.SetReadDeadline(time.Now().Add(3*calm)))
		k, err := peer.Read(buf)
		n += k
		if err != nil {
			must(t, peer.SetReadDeadline(time.Time{}))
			return n
		}
	}
}

// echo is an OnRequest that sends back its input.
func echo(_ context.Context, conn netpoll.Connection) error {
	p, err := conn.Reader().ReadBinary(conn.Reader().Len())
	if err != nil {
		return err
	}
	if _, err := conn.Writer().WriteBinary(p); err != nil {
		return err
	}
	return conn.Writer().Flush()
}

// logged collects the library's log for the rest of the process.
func logged() *logBuffer {
	l := new(logBuffer)
	_ = netpoll.Configure(netpoll.Config{LoggerOutput: l})
	return l
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// fill returns n bytes that show when they are misplaced: byte i is i modulo 251.
func fill(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i % 251)
	}
	return p
}
