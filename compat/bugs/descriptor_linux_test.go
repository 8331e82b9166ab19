package bugs

// Descriptors, memory, and limits, on Linux, where a test can read them.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
)

// fdOf returns the descriptor of a connection.
func fdOf(conn netpoll.Connection) int { return conn.(netpoll.Conn).Fd() }

// closeOnExec reports whether a descriptor is close-on-exec.
func closeOnExec(t testing.TB, fd int) bool {
	t.Helper()
	flags, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_GETFD, 0)
	if errno != 0 {
		t.Fatalf("fcntl(%d): %v", fd, errno)
	}
	return flags&syscall.FD_CLOEXEC != 0
}

// Behaviour 5.12: TCP keepalive is on by default.
func TestKeepAliveIsOnByDefault(t *testing.T) {
	dialed, _ := pair(t)
	served, _ := accepted(t)
	for name, conn := range map[string]netpoll.Connection{"dialed": dialed, "accepted": served} {
		on, err := syscall.GetsockoptInt(fdOf(conn), syscall.SOL_SOCKET, syscall.SO_KEEPALIVE)
		must(t, err)
		if on == 0 {
			t.Errorf("keepalive is off for a connection that was %s", name)
		}
	}
}

// Behaviour 6.4: SetIdleTimeout rounds up to whole seconds.
func TestIdleTimeoutBelowASecondIsNotIgnored(t *testing.T) {
	conn, _ := pair(t)
	must(t, conn.SetIdleTimeout(1500*time.Millisecond))
	seconds, err := syscall.GetsockoptInt(fdOf(conn), syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE)
	must(t, err)
	if seconds != 2 {
		t.Fatalf("1.5 s became %d s", seconds)
	}
}

// Behaviour 5.13: accepted sockets are close-on-exec.
func TestAcceptedSocketsAreCloseOnExec(t *testing.T) {
	conn, _ := accepted(t)
	if !closeOnExec(t, fdOf(conn)) {
		t.Fatal("a program that is started inherits the socket")
	}
}

// Behaviour 5.13: socket pairs are close-on-exec.
func TestSocketPairsAreCloseOnExec(t *testing.T) {
	r, w := netpoll.GetSysFdPairs()
	defer syscall.Close(r)
	defer syscall.Close(w)
	if !closeOnExec(t, r) || !closeOnExec(t, w) {
		t.Fatal("a program that is started inherits the pair")
	}
}

// Behaviour 5.13: epoll and event descriptors are close-on-exec.
func TestPollerDescriptorsAreCloseOnExec(t *testing.T) {
	pair(t) // which starts the pollers
	entries, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	seen := 0
	for _, e := range entries {
		kind, err := os.Readlink(filepath.Join("/proc/self/fd", e.Name()))
		if err != nil || !strings.HasPrefix(kind, "anon_inode:[event") {
			continue
		}
		seen++
		fd, err := strconv.Atoi(e.Name())
		must(t, err)
		if !closeOnExec(t, fd) {
			t.Errorf("a program that is started inherits an %s", kind)
		}
	}
	if seen == 0 {
		t.Fatal("no such descriptor was found")
	}
}

// Behaviour 5.13: timeouts work on a connection without addresses.
func TestTimeoutOfAConnectionWithoutAddresses(t *testing.T) {
	r, w := netpoll.GetSysFdPairs()
	defer syscall.Close(w)
	conn, err := netpoll.NewFDConnection(r)
	must(t, err)
	defer conn.Close()
	must(t, conn.SetReadTimeout(short))
	if _, err := conn.Reader().Next(1); !errors.Is(err, netpoll.ErrReadTimeout) {
		t.Fatalf("Next ended with %v", err)
	}
}

// Behaviour 6.2: closing a listener more than once closes no descriptor of others.
func TestClosedListenerClosesNoForeignDescriptor(t *testing.T) {
	ln, err := netpoll.CreateListener("tcp", "127.0.0.1:0")
	must(t, err)
	_ = ln.Close()
	var fds [64]int // one of them gets the number that the listener had
	for i := range fds {
		fds[i], err = syscall.Open("/dev/null", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
		must(t, err)
	}
	_ = ln.Close()
	for _, fd := range fds {
		if err := syscall.Close(fd); err != nil {
			t.Errorf("somebody has closed descriptor %d: %v", fd, err)
		}
	}
}

// Behaviour 6.5: without descriptors a dial is an error, and later dials work.
func TestDialWithoutDescriptorsIsAnErrorOnly(t *testing.T) {
	s := startPlainEcho(t)
	for free := range 4 {
		restore := exhaust(t, free)
		conn, err := netpoll.DialConnection("tcp", s, patience)
		if err == nil {
			_ = conn.Close()
		}
		restore()
	}
	conn, err := netpoll.DialConnection("tcp", s, patience)
	must(t, err)
	ask(t, conn)
	must(t, conn.Close())
}

// startPlainEcho runs an echo server in another process, which keeps its descriptors.
func startPlainEcho(t testing.TB) (addr string) {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), echoServer+"=1")
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	_, err = fmt.Fscanln(out, &addr)
	must(t, err)
	return addr
}

// exhaust opens descriptors until only free more can be opened. restore undoes it.
func exhaust(t testing.TB, free int) (restore func()) {
	t.Helper()
	var before syscall.Rlimit
	must(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before))
	low := before
	low.Cur = 128
	must(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &low))
	var fds []int
	for {
		fd, err := syscall.Dup(2)
		if err != nil {
			break
		}
		fds = append(fds, fd)
	}
	for _, fd := range fds[:free] {
		syscall.Close(fd)
	}
	return func() {
		for _, fd := range fds[free:] {
			syscall.Close(fd)
		}
		must(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before))
	}
}

// Behaviour 6.9: unread input is bounded: a peer that goes on sending has to wait.
func TestUnreadInputIsBounded(t *testing.T) {
	const much = 64 << 20
	_, peer := accepted(t)
	sent := 0
	for sent < much {
		must(t, peer.SetWriteDeadline(time.Now().Add(10*calm)))
		n, err := peer.Write(make([]byte, 1<<20))
		sent += n
		if err != nil {
			return
		}
	}
	t.Fatalf("%d MiB were taken, and nobody has read a byte", sent>>20)
}

// Behaviour 8.1: an idle connection holds no input or output block.
func TestIdleConnectionIsSmall(t *testing.T) {
	const n, most = 200, 4 << 10
	conns := make([]netpoll.Connection, 0, 2*n)
	before := heap()
	for range n {
		for _, fd := range pairOfFds(t) {
			conn, err := netpoll.NewFDConnection(fd)
			must(t, err)
			conns = append(conns, conn)
		}
		x, y := conns[len(conns)-2], conns[len(conns)-1]
		_, err := x.Write([]byte("x"))
		must(t, err)
		_, err = io.ReadFull(y, make([]byte, 1))
		must(t, err)
		must(t, y.Reader().Release())
	}
	each := int(heap()-before) / len(conns)
	for _, conn := range conns {
		must(t, conn.Close())
	}
	if each > most {
		t.Fatalf("an idle connection holds %d bytes", each)
	}
}

func pairOfFds(t testing.TB) [2]int {
	t.Helper()
	r, w := netpoll.GetSysFdPairs()
	if r < 0 {
		t.Fatal("no descriptors")
	}
	return [2]int{r, w}
}

// heap returns the bytes of live objects on the heap.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // a sync.Pool drops its objects at the second collection
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// echoServer is an environment variable. If it is set, this program is the server of startPlainEcho.
const echoServer = "NETPOLL_BUGS_ECHO"

func TestMain(m *testing.M) {
	if os.Getenv(echoServer) != "" {
		serveEcho()
		return
	}
	os.Exit(m.Run())
}

func serveEcho() {
	ln, err := netpoll.CreateListener("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(ln.Addr())
	loop, err := netpoll.NewEventLoop(echo)
	if err != nil {
		panic(err)
	}
	_ = loop.Serve(ln)
	_ = loop.Shutdown(context.Background())
}
