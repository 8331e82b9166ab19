package netpoll_test

// What the tests of this package share: connected pairs, a server, waiting for events, and TestMain, which fails the
// run if the tests left goroutines or sockets behind.

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

const (
	// eventTimeout is how long a test waits for something that must happen. Only a failing test waits that long.
	eventTimeout = 20 * time.Second
	// calmTime is how long a test looks on to see that nothing happens.
	calmTime = 50 * time.Millisecond
	// shortTimeout is a timeout of the library that a test lets pass.
	shortTimeout = 60 * time.Millisecond
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// Pollers belong to the process, and stay for the next connection.
		goleak.IgnoreAnyFunction("github.com/cloudwego/netpoll.(*poller).run"),
		goleak.IgnoreAnyFunction("github.com/cloudwego/netpoll/internal/alarm.(*timerfd).run"), // of a poller's watchdog
		goleak.IgnoreAnyFunction("runtime.handleEvent"),                                        // of the Go runtime, where JavaScript is the system
		goleak.Cleanup(func(code int) {
			if left := socketsLeft(); code == 0 && left > 0 {
				fmt.Fprintf(os.Stderr, "the tests left %d sockets open\n", left)
				code = 1
			}
			os.Exit(code)
		}))
}

// socketsLeft waits until the process has no socket any more and returns how many there are if that takes too long.
func socketsLeft() (n int) {
	deadline := time.Now().Add(eventTimeout / 4)
	for n = openSockets(); n > 0 && time.Now().Before(deadline); n = openSockets() {
		runtime.GC() // the finalizers of package net close what a test dropped by design
		time.Sleep(10 * time.Millisecond)
	}
	return n
}

// openSockets returns how many sockets the process has. On systems without /dev/fd it is always 0.
func openSockets() (n int) {
	entries, _ := os.ReadDir("/dev/fd")
	for _, e := range entries {
		if info, err := os.Stat(filepath.Join("/dev/fd", e.Name())); err == nil && info.Mode()&os.ModeSocket != 0 {
			n++
		}
	}
	return n
}

// overNetworks runs a test over TCP and over Unix sockets.
func overNetworks(t *testing.T, f func(t *testing.T, network string)) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) { f(t, network) })
	}
}

// localAddress returns an address on this machine for a new listener.
func localAddress(t testing.TB, network string) string {
	if network == "unix" {
		return filepath.Join(t.TempDir(), "s")
	}
	return "127.0.0.1:0"
}

// pair returns two connections of this library that are connected with each other, a dialed and an accepted one. No
// handler takes their input. Both are closed when the test ends.
func pair(t testing.TB, network string) (client, server netpoll.Connection) {
	t.Helper()
	ln, err := netpoll.CreateListener(network, localAddress(t, network))
	require.NoError(t, err)
	defer ln.Close()
	client = dial(t, ln.Addr())
	accepted, err := ln.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { accepted.Close() })
	return client, accepted.(netpoll.Connection)
}

// rawPair returns a dialed connection of this library whose peer is one of package net: a *net.TCPConn or a
// *net.UnixConn. No handler takes its input. Both are closed when the test ends.
func rawPair(t testing.TB, network string) (conn netpoll.Connection, peer net.Conn) {
	t.Helper()
	ln, err := net.Listen(network, localAddress(t, network))
	require.NoError(t, err)
	defer ln.Close()
	conn = dial(t, ln.Addr())
	peer, err = ln.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { peer.Close() })
	return conn, peer
}

// servedPair returns a connection that an EventLoop accepted, and its peer, which is one of package net. onRequest may
// be nil: then nobody takes its input. The options must leave OnConnect alone.
func servedPair(t testing.TB, network string, onRequest netpoll.OnRequest, opts ...netpoll.Option) (
	conn netpoll.Connection, peer net.Conn,
) {
	t.Helper()
	accepted := make(chan netpoll.Connection, 1)
	opts = append(opts, netpoll.WithOnConnect(func(ctx context.Context, c netpoll.Connection) context.Context {
		accepted <- c
		return ctx
	}))
	addr := serve(t, network, onRequest, opts...)
	peer, err := net.Dial(addr.Network(), addr.String())
	require.NoError(t, err)
	t.Cleanup(func() { peer.Close() })
	return receive(t, accepted), peer
}

// startServer serves TCP on the address it returns until the test ends.
func startServer(t testing.TB, onRequest netpoll.OnRequest, opts ...netpoll.Option) (addr string) {
	t.Helper()
	return serve(t, "tcp", onRequest, opts...).String()
}

// serve runs an EventLoop until the test ends. The test fails if that then does not shut down in order.
func serve(t testing.TB, network string, onRequest netpoll.OnRequest, opts ...netpoll.Option) net.Addr {
	t.Helper()
	ln, err := netpoll.CreateListener(network, localAddress(t, network))
	require.NoError(t, err)
	loop, err := netpoll.NewEventLoop(onRequest, opts...)
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- loop.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), eventTimeout)
		defer cancel()
		if err := loop.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if err := receive(t, served); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return ln.Addr()
}

// dial connects to a listener on this machine; the connection is closed when the test ends.
func dial(t testing.TB, addr net.Addr) netpoll.Connection {
	t.Helper()
	conn, err := netpoll.DialConnection(addr.Network(), addr.String(), eventTimeout)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn
}

// echo is an OnRequest that sends back all that is there.
func echo(_ context.Context, conn netpoll.Connection) error {
	r, w := conn.Reader(), conn.Writer()
	p, err := r.Next(r.Len())
	if err != nil {
		return err
	}
	if _, err = w.WriteBinary(p); err != nil {
		return err
	}
	if err = w.Flush(); err != nil {
		return err
	}
	return r.Release()
}

// eventually waits until cond holds, or ends the test.
func eventually(t testing.TB, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(eventTimeout)
	for pause := 50 * time.Microsecond; !cond(); pause = min(2*pause, 5*time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v in vain\n%s", eventTimeout, stacks())
		}
		time.Sleep(pause)
	}
}

// within runs f and ends the test if it has not returned after d. f must not end the test itself.
func within(t testing.TB, d time.Duration, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(d):
		t.Fatalf("not done after %v\n%s", d, stacks())
	}
}

// receive returns what arrives on ch, or ends the test.
func receive[T any](t testing.TB, ch <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-time.After(eventTimeout):
		t.Fatalf("waited %v in vain\n%s", eventTimeout, stacks())
	}
	return v
}

// buffered waits until n bytes are in the input of conn.
func buffered(t testing.TB, conn netpoll.Connection, n int) {
	t.Helper()
	eventually(t, func() bool { return conn.Reader().Len() >= n })
}

// send writes to a peer that has room for it.
func send(t testing.TB, peer net.Conn, p string) {
	t.Helper()
	require.NoError(t, peer.SetWriteDeadline(time.Now().Add(eventTimeout)))
	_, err := peer.Write([]byte(p))
	require.NoError(t, err)
}

// blocked calls f in a goroutine and returns when f is waiting for something. What f returns comes on the channel.
func blocked(t testing.TB, f func() error) <-chan error {
	t.Helper()
	ids, result := make(chan int, 1), make(chan error, 1)
	go func() {
		ids <- goroutineID()
		result <- f()
	}()
	id := receive(t, ids)
	eventually(t, func() bool {
		select {
		case err := <-result:
			t.Fatalf("returned instead of waiting, with error %v", err)
		default:
		}
		return isWaiting(id)
	})
	return result
}

// goroutineID returns the number of the calling goroutine, as in stack traces.
func goroutineID() (id int) {
	var buf [64]byte
	head := string(buf[:runtime.Stack(buf[:], false)])
	id, err := strconv.Atoi(strings.Fields(head)[1])
	if err != nil {
		panic(fmt.Sprintf("no number in %q", head))
	}
	return id
}

// isWaiting reports whether the goroutine is blocked on something other than a lock.
func isWaiting(id int) bool {
	head := fmt.Sprintf("goroutine %d ", id)
	for trace := range strings.SplitSeq(stacks(), "\n\n") {
		if state, ok := strings.CutPrefix(trace, head); ok {
			state, _, _ = strings.Cut(state, "\n")
			return strings.Contains(state, "[select") || strings.Contains(state, "[IO wait") || strings.Contains(state, "[chan receive") ||
				strings.Contains(state, "[sync.Cond.Wait")
		}
	}
	return false
}

// stacks returns the stack traces of all goroutines.
func stacks() string {
	buf := make([]byte, 4<<20)
	return string(buf[:runtime.Stack(buf, true)])
}

// pattern returns n bytes, no 251 of which repeat, so that a shift or an exchange is seen.
func pattern(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i % 251)
	}
	return p
}
