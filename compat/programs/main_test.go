package programs

// What all tests share: waiting, bytes that show when they are misplaced, listeners and dialers of both libraries, and
// the proof that the tests leave neither goroutines nor sockets behind.

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"testing"
	"time"

	"github.com/cloudwego/hertz/pkg/common/hlog"
	"github.com/cloudwego/netpoll"
	"github.com/redis/go-redis/v9/logging"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// patience is how long a test waits for an event before it fails.
const patience = 15 * time.Second

func TestMain(m *testing.M) {
	if side := os.Getenv(tableflipEnv); side != "" { // a server that a test has started
		if err := serveTableflip(side); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	hlog.SetOutput(io.Discard)
	log.SetOutput(io.Discard) // servers log the connections that the tests break
	logging.Disable()         // and so does go-redis
	goleak.VerifyTestMain(m,
		// Pollers belong to the process, and stay for the next connection.
		goleak.IgnoreAnyFunction("github.com/cloudwego/netpoll.(*poller).run"),
		goleak.IgnoreAnyFunction("github.com/cloudwego/netpoll/internal/alarm.(*timerfd).run"),
		// So do these of the programs. One of fasthttp's belongs to a server, but ends up to ten seconds after it.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
		goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.startGlobalTimeCache.func1"),
		goleak.IgnoreAnyFunction("github.com/cloudwego/hertz/pkg/protocol.UpdateServerDate.func1"),
		goleak.Cleanup(func(code int) {
			if left := socketsLeft(); code == 0 && left > 0 {
				fmt.Fprintf(os.Stderr, "the tests left %d sockets open\n", left)
				code = 1
			}
			os.Exit(code)
		}))
}

// socketsLeft waits until the process has no sockets left. If that takes too long, it returns how many there are.
func socketsLeft() (n int) {
	for deadline := time.Now().Add(patience / 3); ; time.Sleep(10 * time.Millisecond) {
		if n = openSockets(); n == 0 || time.Now().After(deadline) {
			return n
		}
	}
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

// A binary has only one package netpoll, so its source file shows which library the programs use.
func TestLibraryUnderTestIsThisRepository(t *testing.T) {
	_, here, _, ok := runtime.Caller(0)
	require.True(t, ok)
	f := runtime.FuncForPC(reflect.ValueOf(netpoll.NewEventLoop).Pointer())
	require.NotNil(t, f)
	library, _ := f.FileLine(f.Entry())
	require.Equal(t, filepath.Dir(filepath.Dir(filepath.Dir(here))), filepath.Dir(library))
}

// sides says which sides of a program are on the library; the other is on package net.
type sides struct {
	name           string
	server, client bool
	layer          layer // above the connections of both sides; nil means none
}

// layer is what a program does not see of its connections: TLS.
type layer interface {
	// listener returns the listener of a server. ours says whether that is on the library, and so is ln.
	listener(ln net.Listener, ours bool) net.Listener
	dial(ctx context.Context, network, address string, ours bool) (net.Conn, error)
	option() netpoll.Option // of an event loop
	authority() []byte      // the certificate that clients trust, in PEM
}

// newOwnLayer returns TLS of the library. It is nil with the original, which has none.
var newOwnLayer func(t *testing.T) layer

// overSides runs test with the library on either side and on both.
func overSides(t *testing.T, test func(t *testing.T, on sides)) {
	for _, on := range []sides{
		{name: "server", server: true}, {name: "client", client: true}, {name: "both", server: true, client: true},
	} {
		t.Run(on.name, func(t *testing.T) { test(t, on) })
	}
}

// listenOn listens on an address on this machine.
func (on sides) listenOn(t *testing.T, address string) net.Listener {
	t.Helper()
	if on.layer == nil {
		return on.listenBare(t, address)
	}
	return on.layer.listener(on.listenBare(t, address), on.server)
}

func (on sides) listenBare(t *testing.T, address string) net.Listener {
	t.Helper()
	if !on.server {
		ln, err := net.Listen("tcp", address)
		require.NoError(t, err)
		return ln
	}
	ln, err := netpoll.CreateListener("tcp", address)
	require.NoError(t, err)
	return ln
}

// dial dials for the client side.
func (on sides) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if on.layer != nil {
		return on.layer.dial(ctx, network, address, on.client)
	}
	if !on.client {
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	return dialNetpoll(ctx, network, address)
}

// dialNetpoll dials with the library. The original has no DialContext, so there it uses DialTimeout.
func dialNetpoll(ctx context.Context, network, address string) (net.Conn, error) {
	d := netpoll.NewDialer()
	if d, ok := d.(interface {
		DialContext(ctx context.Context, network, address string) (net.Conn, error)
	}); ok {
		return d.DialContext(ctx, network, address)
	}
	return d.DialTimeout(network, address, patience)
}

// rawDial opens a plain connection. Its deadline limits all that the test does with it.
func rawDial(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	return conn.(*net.TCPConn)
}

// requireRefused waits until nobody listens on addr.
func requireRefused(t *testing.T, addr string) {
	t.Helper()
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	}, patience, time.Millisecond, "the port still accepts")
}

// await returns the value of event, or ends t if event neither delivers nor is closed in time.
func await[T any](t testing.TB, event <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-event:
	case <-time.After(patience):
		t.Fatalf("no sign of %s\n%s", what, stacks())
	}
	return v
}

// stacks returns the stack traces of all goroutines.
func stacks() string {
	buf := make([]byte, 1<<20)
	return string(buf[:runtime.Stack(buf, true)])
}

// timeLimit returns a context that limits the time of the whole test.
func timeLimit(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// pattern returns n bytes with a period of 251, so that a shift or an exchange shows. Patterns of different seeds differ
// in every byte.
func pattern(seed, n int) []byte {
	var period [251]byte
	for i := range period {
		period[i] = byte((i + seed) % len(period))
	}
	return bytes.Repeat(period[:], n/len(period)+1)[:n:n]
}

// digest describes contents that are too long to print.
func digest(p []byte) string {
	sum := sha256.Sum256(p)
	return fmt.Sprintf("%d bytes, %s", len(p), hex.EncodeToString(sum[:8]))
}

// digestOf returns the digest of everything that r has.
func digestOf(r io.Reader) (string, error) {
	h := sha256.New()
	n, err := io.Copy(h, r)
	return fmt.Sprintf("%d bytes, %s", n, hex.EncodeToString(h.Sum(nil)[:8])), err
}
