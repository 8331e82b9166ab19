//go:build linux && !netconn

package netpoll

// Helpers of the white-box tests of the I/O batch: a poller of their own that a test can hold still, connections on it,
// and a ring that injects faults.

import (
	"bytes"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/aio"
	"github.com/cloudwego/netpoll/internal/happens"
	"github.com/cloudwego/netpoll/internal/iobatch"
	"github.com/cloudwego/netpoll/internal/metric"
	"github.com/cloudwego/netpoll/internal/testkit"
)

// testPoller is a fresh poller, the only one of the process until the test ends, with a descriptor through which the test
// acts on its goroutine.
type testPoller struct {
	*poller
	t     testing.TB
	bell  int // written to make the poller call do
	watch watch
	drain int
	calls chan func() // for the leader to run
}

// newTestPoller returns a poller with one worker, in the mode of NETPOLL_IOURING.
func newTestPoller(t testing.TB) *testPoller {
	t.Helper()
	return startTestPoller(t, func(p *poller) { p.maxWorkers = 1 })
}

// startTestPoller is newTestPoller with a poller that is changed before it starts. Where it has more than one worker,
// which of them leads is for the poller to know.
func startTestPoller(t testing.TB, change func(p *poller)) *testPoller {
	t.Helper()
	sel, err := newSelector()
	require.NoError(t, err)
	p := makePoller(sel, pollers.drop, new(metric.Set))
	change(p)
	go p.run(p.leader)
	old := pollers.current.Swap(&[]*poller{p})
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	h := &testPoller{poller: p, t: t, bell: fds[0], drain: fds[1], calls: make(chan func(), 64)}
	require.NoError(t, h.watch.open(p, h.drain, h, evRead))
	t.Cleanup(func() {
		h.watch.close()
		unix.Close(fds[0])
		unix.Close(fds[1])
		list := pollers.current.Swap(old)
		if list != nil {
			for _, q := range *list {
				q.retire()
				testkit.Receive(t, q.done, "the end of a poller")
			}
		}
	})
	return h
}

// interest implements pollHandler.
func (h *testPoller) interest() pollEvent { return evRead }

// onPoll implements pollHandler.
func (h *testPoller) onPoll(pollEvent, *batch) {
	var b [64]byte
	n, _ := unix.Read(h.drain, b[:])
	for range n {
		(<-h.calls)()
	}
}

// post makes the leader run f, in a batch, where no handlers run. It does not wait.
func (h *testPoller) post(f func()) {
	h.calls <- f
	if _, err := unix.Write(h.bell, []byte{1}); err != nil {
		h.t.Errorf("post to the poller: %v", err)
	}
}

// do is post and waits until f has run.
func (h *testPoller) do(f func()) {
	h.t.Helper()
	done := make(chan struct{})
	h.post(func() { defer close(done); f() })
	testkit.Receive(h.t, done, "the poller")
}

// hold stops the poller in the middle of a batch, with its send queue open: it will look at the queue when release is
// called, at the latest at the end of the test.
func (h *testPoller) hold() (release func()) {
	h.t.Helper()
	held, goOn := make(chan struct{}), make(chan struct{})
	h.post(func() { close(held); <-goOn })
	testkit.Receive(h.t, held, "the poller to stop")
	h.leader.sends.setOpen()
	release = sync.OnceFunc(func() { close(goOn) })
	h.t.Cleanup(release)
	return release
}

// settle returns when the poller has handled all that was reported to it before, and has sent what was queued.
func (h *testPoller) settle() {
	h.t.Helper()
	for range 2 {
		h.do(func() {})
	}
}

// rings makes the poller use a ring made by make, in the given mode, and returns its policy.
func (h *testPoller) rings(mode string, make func() (ring, error)) (policy *executorPolicy) {
	h.t.Helper()
	policy = newExecutorPolicy(ioUring, mode, func() error { return nil })
	h.executors(onlyRings(policy), func(*executorKind) (ring, error) { return make() })
	return policy
}

// executors makes the poller use one of e, made by make.
func (h *testPoller) executors(e *executors, make func(kind *executorKind) (ring, error)) {
	h.t.Helper()
	h.do(func() {
		h.leader.io.close()
		h.leader.io.policy, h.leader.io.make, h.leader.io.by, h.leader.io.noneTill = e, make, nil, 0
	})
}

// onlyRings are executors without AIO.
func onlyRings(policy *executorPolicy) *executors {
	return &executors{ring: policy, aio: newExecutorPolicy(linuxAIO, "off", func() error { return syscall.ENOSYS })}
}

// aioAlways are executors of which AIO is used, if there is any.
func aioAlways() *executors {
	return &executors{
		ring: newExecutorPolicy(ioUring, "", func() error { return nil }),
		aio:  newExecutorPolicy(linuxAIO, "always", aio.ProbeOnce),
	}
}

// connect returns a connection on the poller and its peer, which is one of package net with a deadline.
func (h *testPoller) connect(network string) (c *connection, peer net.Conn) {
	h.t.Helper()
	var conn Connection
	if network == "unix" {
		conn, peer = connectPair(h.t)
	} else {
		conn, peer = connectTCP(h.t)
	}
	h.t.Cleanup(func() { conn.Close(); peer.Close() })
	require.NoError(h.t, peer.SetDeadline(time.Now().Add(2*testkit.Timeout)))
	require.NoError(h.t, conn.SetReadTimeout(testkit.Timeout))
	return inner(conn), peer
}

func connectTCP(t testing.TB) (conn Connection, peer net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	conn, err = DialConnection("tcp", ln.Addr().String(), testkit.Timeout)
	require.NoError(t, err)
	peer, err = ln.Accept()
	require.NoError(t, err)
	return conn, peer
}

func connectPair(t testing.TB) (conn Connection, peer net.Conn) {
	t.Helper()
	fd, other := GetSysFdPairs()
	require.GreaterOrEqual(t, fd, 0)
	f := os.NewFile(uintptr(other), "peer")
	defer f.Close()
	peer, err := net.FileConn(f)
	require.NoError(t, err)
	conn, err = NewFDConnection(fd)
	require.NoError(t, err)
	require.NoError(t, conn.(*UnixConnection).KeepDescriptors(false)) // as those that are served
	return conn, peer
}

// put flushes s, which must not fail.
func put(t testing.TB, c *connection, s string) {
	t.Helper()
	_, err := c.WriteString(s)
	require.NoError(t, err)
	require.NoError(t, c.Flush())
}

// putPending flushes s and requires that it was left to the poller.
func putPending(t testing.TB, c *connection, s string) {
	t.Helper()
	put(t, c, s)
	require.True(t, c.life.load().has(bitPending), "sent at once: %v", c.life.load())
}

// fill makes the socket of c full, past the connection, and returns the bytes that it took.
func fill(t testing.TB, c *connection) (filler string) {
	t.Helper()
	var all bytes.Buffer
	chunk := bytes.Repeat([]byte("f"), 4<<10)
	for {
		n, err := unix.Write(c.Fd(), chunk)
		if err == unix.EAGAIN {
			if len(chunk) == 1 {
				return all.String()
			}
			chunk = chunk[:1]
			continue
		}
		require.NoError(t, err)
		all.Write(chunk[:n])
	}
}

// released waits until c has been released.
func released(t testing.TB, c *connection) {
	t.Helper()
	testkit.Eventually(t, func() bool { return c.life.load().phase() >= phaseReleased }, "the connection is released")
}

// noOneInside requires that no reference of c is held but the connection's own.
func noOneInside(t testing.TB, c *connection) {
	t.Helper()
	testkit.Eventually(t, func() bool { return c.life.load().refs() == 1 }, "nobody is inside")
	require.False(t, c.life.load().has(bitPending|bitSending|bitFlushing|bitProducing), "%v", c.life.load())
}

// operation is one that a fake ring is asked to do.
type operation struct {
	send bool
	fd   int
	p    []byte
	tag  uint64
}

// plain does the operation as the kernel does.
func (o operation) plain() int32 {
	for {
		var n int
		var err error
		if o.send {
			happens.BeforeSend()
			n, err = unix.SendmsgN(o.fd, o.p, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		} else {
			n, _, err = unix.Recvfrom(o.fd, o.p, unix.MSG_DONTWAIT)
			happens.AfterReceive()
		}
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return -int32(err.(syscall.Errno))
		}
		return int32(n)
	}
}

// fakeRing does what a ring does, one operation at a time, unless its script says otherwise. The leader uses it; any
// goroutine may read the counters.
type fakeRing struct {
	size   int
	script func(o operation) (res int32) // nil: plain
	broken func(submit, at int) error    // asked before each operation of each Submit; nil: never
	ops    []operation                   // queued
	armed  atomic.Bool                   // for scripts
	failed error                         // the error that broke it

	submits atomic.Int64 // with at least one operation
	sends   atomic.Int64 // operations done
	recvs   atomic.Int64
	largest atomic.Int64 // most operations of one Submit
	closed  atomic.Int64
}

func (f *fakeRing) queue(o operation) bool {
	if f.failed != nil || len(f.ops) == f.size {
		return false
	}
	f.ops = append(f.ops, o)
	return true
}

func (f *fakeRing) Recv(fd int, p []byte, tag uint64) bool {
	return f.queue(operation{false, fd, p, tag})
}
func (f *fakeRing) Send(fd int, p []byte, tag uint64) bool {
	return f.queue(operation{true, fd, p, tag})
}
func (f *fakeRing) Cap() int     { return f.size }
func (f *fakeRing) Len() int     { return len(f.ops) }
func (f *fakeRing) Close() error { f.closed.Add(1); return nil }

// Submit does all that is queued and then delivers, as package uring promises.
func (f *fakeRing) Submit(done func(tag uint64, res int32)) error {
	ops := f.ops
	f.ops = nil
	if len(ops) > 0 {
		f.submits.Add(1)
		f.largest.Store(max(f.largest.Load(), int64(len(ops))))
	}
	results := make([]int32, len(ops))
	for i, o := range ops {
		if f.failed == nil && f.broken != nil {
			f.failed = f.broken(int(f.submits.Load()), i)
		}
		results[i] = f.execute(o)
	}
	for i, o := range ops {
		done(o.tag, results[i])
	}
	return f.failed
}

func (f *fakeRing) execute(o operation) int32 {
	if f.failed != nil {
		return iobatch.NotExecuted
	}
	if o.send {
		f.sends.Add(1)
	} else {
		f.recvs.Add(1)
	}
	if f.script == nil {
		return o.plain()
	}
	return f.script(o)
}
