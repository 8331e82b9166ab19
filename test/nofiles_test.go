//go:build linux

package test

// Running out of descriptors, while accepting, while dialing, and before the first poller exists. Each test has a
// process of its own, whose limit it lowers.

import (
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// fillers are files that keep the process at its limit.
type fillers []*os.File

// exhaust lowers the limit and opens files until no descriptor is left.
func exhaust(t *testing.T) fillers {
	t.Helper()
	highest := 0
	for fd := range openFiles() {
		highest = max(highest, fd)
	}
	setFileLimit(t, uint64(highest+20))
	var f fillers
	return f.fill(t)
}

func setFileLimit(t *testing.T, n uint64) {
	t.Helper()
	var limit unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	limit.Cur = n
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
}

func (f fillers) fill(t *testing.T) fillers {
	t.Helper()
	for {
		file, err := os.Open(os.DevNull)
		if err != nil {
			require.ErrorIs(t, err, syscall.EMFILE)
			return f
		}
		f = append(f, file)
	}
}

// free gives n descriptors back.
func (f fillers) free(t *testing.T, n int) fillers {
	t.Helper()
	for _, file := range f[len(f)-n:] {
		require.NoError(t, file.Close())
	}
	return f[:len(f)-n]
}

// unconnected returns sockets that can connect without a further descriptor.
func unconnected(t *testing.T, n int) []int {
	t.Helper()
	timeout := unix.NsecToTimeval(int64(testkit.Timeout))
	fds := make([]int, n)
	for i := range fds {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		require.NoError(t, err)
		t.Cleanup(func() { closeFd(fd) })
		require.NoError(t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO,
			&timeout))
		fds[i] = fd
	}
	return fds
}

// connectTo connects a bare socket and sends a word.
func connectTo(t *testing.T, fd int, addr net.Addr) {
	t.Helper()
	to := &unix.SockaddrInet4{Port: addr.(*net.TCPAddr).Port, Addr: [4]byte{127, 0, 0, 1}}
	require.NoError(t, unix.Connect(fd, to))
	_, err := unix.Write(fd, []byte("hello"))
	require.NoError(t, err)
}

// requireHello expects the word back; it waits until the server has accepted.
func requireHello(t *testing.T, fd int) {
	t.Helper()
	buf := make([]byte, 16)
	n, err := unix.Read(fd, buf)
	for err == unix.EINTR { // the kernel does not resume a read with a timeout after a signal of the runtime
		n, err = unix.Read(fd, buf)
	}
	require.NoError(t, err)
	require.Equal(t, "hello", string(buf[:n]))
}

// Behaviour 6.8: running out of descriptors while accepting backs off without spinning or flooding the log, as often
// as it happens, leaves established connections unharmed, and goes on when there are some again.
func TestAcceptSurvivesRunningOutOfDescriptors(t *testing.T) {
	if !testkit.InOwnProcess(t) {
		return
	}
	const episodes, waiting = 3, 4
	log := testkit.CaptureLog(t, netpoll.SetLoggerOutput)
	s := testnet.NewServer(t, "tcp", testnet.Echo)
	established := s.Dial()
	require.NoError(t, testkit.RoundTrip(established, "before"))
	sockets := unconnected(t, episodes*waiting)
	files := exhaust(t)
	for range episodes {
		lines := strings.Count(log.String(), "\n")
		files = files.fill(t)
		batch := sockets[:waiting]
		sockets = sockets[waiting:]
		for _, fd := range batch {
			connectTo(t, fd, s.Listener.Addr())
		}
		testkit.Idles(t)
		for range 20 {
			require.NoError(t, testkit.RoundTrip(established, "meanwhile"))
		}
		require.LessOrEqual(t, strings.Count(log.String(), "\n")-lines, 3, "log lines of one episode:\n%s", log)
		files = files.free(t, waiting)
		for _, fd := range batch {
			requireHello(t, fd)
		}
		// The accepted ones keep their descriptors: the next episode begins with none.
	}
	require.NoError(t, testkit.RoundTrip(established, "after"))
	files.free(t, len(files))
}

// Behaviour 6.8: a Shutdown while accepting is paused ends everything.
func TestShutdownWhileOutOfDescriptors(t *testing.T) {
	if !testkit.InOwnProcess(t) {
		return
	}
	testkit.CaptureLog(t, netpoll.SetLoggerOutput)
	s := testnet.NewServer(t, "tcp", testnet.Echo)
	sockets := unconnected(t, 1)
	established := s.Dial()
	require.NoError(t, testkit.RoundTrip(established, "before"))
	files := exhaust(t)
	connectTo(t, sockets[0], s.Listener.Addr())
	require.NoError(t, testkit.RoundTrip(established, "meanwhile"))
	require.NoError(t, testkit.Receive(t, shutdownIn(s.Loop)))
	require.NoError(t, testkit.Receive(t, s.Served))
	s.Served <- nil
	_, err := established.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	files.free(t, len(files))
}

// Behaviour 6.5: running out of descriptors is an error of the dial, and later dials work.
func TestDialSurvivesRunningOutOfDescriptors(t *testing.T) {
	if !testkit.InOwnProcess(t) {
		return
	}
	dialWithFewDescriptors(t, true)
}

// Behaviour 6.5: … also when not even the first poller could be opened.
func TestFirstDialSurvivesRunningOutOfDescriptors(t *testing.T) {
	if !testkit.InOwnProcess(t) {
		return
	}
	dialWithFewDescriptors(t, false)
}

// dialWithFewDescriptors dials with no descriptor free, with one, and so on, so that each step that needs one fails
// in turn.
func dialWithFewDescriptors(t *testing.T, pollersFirst bool) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0") // makes the Go runtime open its own poller, too
	require.NoError(t, err)
	defer ln.Close()
	if pollersFirst {
		netpoll.Initialize()
	}
	files := exhaust(t)
	total, failures := len(files), 0
	for free := range 12 {
		files = files.free(t, free)
		conn, err := netpoll.DialConnection("tcp", ln.Addr().String(), testkit.Timeout)
		if err != nil {
			failures++
			require.ErrorIs(t, err, syscall.EMFILE, "with %d descriptors free", free)
			require.True(t, conn == nil, "a failed dial returned %#v", conn)
		} else {
			require.NoError(t, conn.Close())
		}
		files = files.fill(t)
		if pollersFirst {
			require.Len(t, files, total, "descriptors that can be opened, after a dial with %d free", free)
		}
	}
	require.Positive(t, failures)
	files.free(t, len(files))
	conn, err := netpoll.DialConnection("tcp", ln.Addr().String(), testkit.Timeout)
	require.NoError(t, err)
	require.NoError(t, conn.Close())
}
