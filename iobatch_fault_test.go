//go:build linux && !netconn

package netpoll

// Whatever a ring does, each byte arrives once and in order: rings that are too small, refuse, fail in part, lose an
// operation, or break while they are used.

import (
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/iobatch"
	"github.com/cloudwego/netpoll/internal/testkit"
)

// fleet is a number of echoing connections on one poller, with their peers.
type fleet struct {
	h     *testPoller
	conns []*connection
	peers []net.Conn
	round int
}

func newFleet(t testing.TB, h *testPoller, n int, network string) *fleet {
	t.Helper()
	f := &fleet{h: h}
	for range n {
		c, peer := h.connect(network)
		require.NoError(t, c.SetOnRequest(echoAll))
		f.conns, f.peers = append(f.conns, c), append(f.peers, peer)
	}
	h.settle()
	return f
}

// ask sends a request on each connection, so that all arrive in one batch.
func (f *fleet) ask(t testing.TB) {
	t.Helper()
	release := f.h.hold()
	f.round++
	for i, peer := range f.peers {
		_, err := io.WriteString(peer, f.message(i))
		require.NoError(t, err)
	}
	release()
}

func (f *fleet) message(i int) string {
	return strings.Repeat(fmt.Sprintf("round %d of %d;", f.round, i), 1+20*(i%3))
}

// answered expects the answers on all connections but those in without.
func (f *fleet) answered(t testing.TB, without ...int) {
	t.Helper()
	for i, peer := range f.peers {
		if len(without) == 0 || without[0] != i {
			testkit.Expect(t, peer, f.message(i))
		}
	}
}

// tell makes each connection send bytes to its peer, all of it in one batch of queued sends.
func (f *fleet) tell(t testing.TB) {
	t.Helper()
	for _, c := range f.conns {
		noOneInside(t, c) // a peer may have the answer before the handler has returned
	}
	release := f.h.hold()
	f.round++
	for i, c := range f.conns {
		putPending(t, c, f.message(i))
	}
	release()
}

// ringScript returns the result of an operation.
type ringScript = func(o operation) (res int32)

// faults counts the faults of a script.
type faults struct{ n atomic.Int64 }

// each makes every k-th operation that matches give res, without doing it.
func (f *faults) each(k int, send bool, res int32) ringScript {
	seen := 0
	return func(o operation) int32 {
		if o.send != send {
			return o.plain()
		}
		if seen++; seen%k != 0 {
			return o.plain()
		}
		f.n.Add(1)
		return res
	}
}

// cut makes every operation that matches move no more than k bytes.
func (f *faults) cut(k int, send bool) ringScript {
	return func(o operation) int32 {
		if o.send == send && len(o.p) > k {
			f.n.Add(1)
			o.p = o.p[:k]
		}
		return o.plain()
	}
}

func TestEachByteArrivesOnceWhateverTheRingDoes(t *testing.T) {
	for _, tc := range []struct {
		name   string
		size   int
		script func(f *faults) ringScript
	}{
		{"ring smaller than the batch", 3, nil},
		{"ring for one operation", 1, nil},
		{"receives not executed", 64, func(f *faults) ringScript { return f.each(2, false, iobatch.NotExecuted) }},
		{"sends not executed", 64, func(f *faults) ringScript { return f.each(2, true, iobatch.NotExecuted) }},
		{"receives find nothing", 64, func(f *faults) ringScript { return f.each(3, false, -int32(unix.EAGAIN)) }},
		{"sends find no room", 64, func(f *faults) ringScript { return f.each(2, true, -int32(unix.EAGAIN)) }},
		{"sends never find room", 64, func(f *faults) ringScript { return f.each(1, true, -int32(unix.EAGAIN)) }},
		{"receives interrupted", 64, func(f *faults) ringScript { return f.each(2, false, -int32(unix.EINTR)) }},
		{"sends interrupted", 64, func(f *faults) ringScript { return f.each(2, true, -int32(unix.EINTR)) }},
		{"no receive is one for a ring", 64, func(f *faults) ringScript { return f.each(1, false, -int32(unix.ENOTSOCK)) }},
		{"no send is one for a ring", 64, func(f *faults) ringScript { return f.each(1, true, -int32(unix.ENOTSOCK)) }},
		{"short sends", 64, func(f *faults) ringScript { return f.cut(3, true) }},
		{"short receives", 64, func(f *faults) ringScript { return f.cut(1, false) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			log := testkit.CaptureLog(t, SetLoggerOutput)
			h := newTestPoller(t)
			var f faults
			r := &fakeRing{size: tc.size}
			if tc.script != nil {
				r.script = tc.script(&f)
			}
			policy := h.rings("always", func() (ring, error) { return r, nil })
			fl := newFleet(t, h, 8, "tcp")
			for range 5 {
				fl.ask(t)
				fl.answered(t)
				fl.tell(t)
				fl.answered(t)
			}
			require.NotZero(t, r.recvs.Load())
			require.GreaterOrEqual(t, r.sends.Load(), int64(5*8), "sends that could have been the ring's")
			left := 0
			h.do(func() { left = len(h.leader.io.recvs) + len(h.leader.io.sending) })
			require.Zero(t, left, "operations that are over are kept")
			require.LessOrEqual(t, r.largest.Load(), int64(tc.size))
			if tc.script != nil {
				require.NotZero(t, f.n.Load(), "nothing was injected")
			}
			for _, c := range fl.conns {
				noOneInside(t, c)
				require.True(t, c.IsActive())
			}
			require.NoError(t, policy.refusal())
			require.Empty(t, log.String())
		})
	}
}

// A ring that does receives and sends is used for both.
func TestQueuedSendsOfAFleetGoThroughTheRing(t *testing.T) {
	h := newTestPoller(t)
	r := &fakeRing{size: 64}
	h.rings("always", func() (ring, error) { return r, nil })
	fl := newFleet(t, h, 8, "unix")
	testkit.Eventually(t, func() bool {
		fl.ask(t)
		fl.answered(t)
		return r.sends.Load() > 0
	}, "handlers run on a worker and their answers are gathered")
}

var errRing = fmt.Errorf("the ring fails: %w", syscall.ENXIO)

func TestRingThatBreaksInTheMiddleIsReplacedByPlainCalls(t *testing.T) {
	for _, sends := range []bool{false, true} {
		for at := range 8 {
			t.Run(fmt.Sprintf("sends=%v/at=%d", sends, at), func(t *testing.T) {
				log := testkit.CaptureLog(t, SetLoggerOutput)
				h := newTestPoller(t)
				r := &fakeRing{size: 64}
				r.broken = func(_, i int) error {
					if i >= at && r.armed.Load() {
						return errRing
					}
					return nil
				}
				policy := h.rings("always", func() (ring, error) { return r, nil })
				usePolicy(t, policy)
				fl := newFleet(t, h, 8, "tcp")
				require.True(t, Features().IOUring)

				if sends { // all of them in one batch
					h.post(func() { r.armed.Store(true) })
					fl.tell(t)
				} else {
					r.armed.Store(true)
					fl.ask(t)
				}
				fl.answered(t)
				fl.ask(t)
				fl.answered(t)
				for _, c := range fl.conns {
					noOneInside(t, c)
				}
				require.EqualValues(t, 1, r.closed.Load(), "a broken ring is given up")
				require.Equal(t, 1, strings.Count(log.String(), "\n"), "lines in the log:\n%s", log)
				require.Contains(t, log.String(), "the ring fails")
				report := Features()
				require.False(t, report.IOUring)
				require.ErrorIs(t, report.IOUringError, syscall.ENXIO)
			})
		}
	}
}

// usePolicy makes policy that of the process until the test ends, without AIO.
func usePolicy(t testing.TB, policy *executorPolicy) {
	t.Helper()
	useExecutors(t, onlyRings(policy))
}

// useExecutors makes e those of the process until the test ends.
func useExecutors(t testing.TB, e *executors) {
	t.Helper()
	old := defaultExecutors
	defaultExecutors = e
	t.Cleanup(func() { defaultExecutors = old })
}

func TestRingsThatFailTogetherAreReportedOnce(t *testing.T) {
	log := testkit.CaptureLog(t, SetLoggerOutput)
	policy := newExecutorPolicy(ioUring, "auto", func() error { return nil })
	var pollers sync.WaitGroup
	for i := range 8 {
		pollers.Go(func() { policy.failed(fmt.Errorf("poller %d: %w", i, errRing)) })
	}
	pollers.Wait()
	require.Equal(t, 1, strings.Count(log.String(), "\n"))
	require.ErrorIs(t, policy.refusal(), errRing)
	require.Zero(t, policy.least())
}

// A ring that cannot be made, though the probe could make one, shows in Features.
func TestRingThatCannotBeMadeIsReported(t *testing.T) {
	log := testkit.CaptureLog(t, SetLoggerOutput)
	h := newTestPoller(t)
	var asked atomic.Int32
	policy := h.rings("always", func() (ring, error) {
		asked.Add(1)
		return nil, os.NewSyscallError("io_uring_setup", syscall.ENOMEM)
	})
	usePolicy(t, policy)
	fl := newFleet(t, h, 8, "unix")
	for range 3 {
		fl.ask(t)
		fl.answered(t)
	}
	require.EqualValues(t, 1, asked.Load(), "tried again and again")
	require.ErrorIs(t, Features().IOUringError, syscall.ENOMEM)
	require.Equal(t, 1, strings.Count(log.String(), "\n"), "lines in the log:\n%s", log)
}

// If the probe has failed already, nothing is logged: a container without io_uring is no fault.
func TestRingThatWasNeverThereIsNotReported(t *testing.T) {
	log := testkit.CaptureLog(t, SetLoggerOutput)
	h := newTestPoller(t)
	refusal := fmt.Errorf("forbidden: %w", syscall.EPERM)
	policy := newExecutorPolicy(ioUring, "", func() error { return refusal })
	h.executors(onlyRings(policy), func(*executorKind) (ring, error) { return nil, refusal })
	usePolicy(t, policy)
	fl := newFleet(t, h, 8, "unix")
	for range 3 {
		fl.ask(t)
		fl.answered(t)
	}
	require.Equal(t, FeatureReport{IOUringError: refusal, AIOError: ErrAIOOff}, executorReport())
	require.Empty(t, log.String())
	require.ErrorIs(t, Configure(Config{IOUring: IOUringOn}), syscall.EPERM)
}

// losing makes the ring lose the first operation of its kind on fd.
func losing(fd int, send bool, lost *atomic.Int64) func(o operation) int32 {
	return func(o operation) int32 {
		if o.fd == fd && o.send == send && lost.CompareAndSwap(0, 1) {
			return iobatch.InDoubt
		}
		return o.plain()
	}
}

func TestLostReceiveEndsItsConnectionOnly(t *testing.T) {
	testkit.CaptureLog(t, SetLoggerOutput)
	h := newTestPoller(t)
	r := &fakeRing{size: 64}
	var lost atomic.Int64
	fl := newFleet(t, h, 8, "tcp")
	victim := fl.conns[3]
	closes := countCloses(t, victim)
	h.rings("always", func() (ring, error) { return r, nil })
	h.do(func() { r.script = losing(victim.Fd(), false, &lost) })
	fl.ask(t)
	fl.answered(t, 3)
	testkit.Eventually(t, func() bool { return !victim.IsActive() }, "the connection ends")
	require.Equal(t, syscall.EIO, victim.life.load().errno())
	fl.peers[3].Close()
	require.NoError(t, victim.Close())
	released(t, victim)
	testkit.Eventually(t, func() bool { return closes.Load() == 1 }, "the close callback")
}

func TestLostSendEndsItsConnectionAndSaysSo(t *testing.T) {
	testkit.CaptureLog(t, SetLoggerOutput)
	h := newTestPoller(t)
	r := &fakeRing{size: 64}
	var lost atomic.Int64
	fl := newFleet(t, h, 8, "tcp")
	victim := fl.conns[3]
	h.rings("always", func() (ring, error) { return r, nil })
	h.do(func() { r.script = losing(victim.Fd(), true, &lost) })
	fl.tell(t)
	fl.answered(t, 3)
	testkit.Eventually(t, func() bool { return !victim.IsActive() }, "the connection ends")
	require.ErrorIs(t, victim.Flush(), syscall.EIO)
	_, err := victim.Write([]byte("x"))
	require.ErrorIs(t, err, syscall.EIO)
	noOneInside(t, victim)
	require.ErrorIs(t, victim.Close(), syscall.EIO)
	released(t, victim)
}

// The kernel may use the memory of a lost operation for ever, so its block must not come back from a pool.
func TestMemoryOfALostOperationIsNeverUsedAgain(t *testing.T) {
	h := newTestPoller(t)
	c, _ := h.connect("tcp")
	_ = h.hold()
	_, _, ok := c.transport.(batchReceiver).beginReceive(evRead)
	require.True(t, ok)
	block := c.in.last.blk
	c.transport.(batchReceiver).endReceive(iobatch.InDoubt, false, nil)
	require.NotZero(t, block.refs.Load()&keptForUser)

	c, _ = h.connect("unix")
	putPending(t, c, flushed)
	_, _, ok = c.transport.(sender).beginSend()
	require.True(t, ok)
	block = c.out.first().blk
	c.transport.(sender).endSend(iobatch.InDoubt)
	require.NotZero(t, block.refs.Load()&keptForUser)
	require.Zero(t, c.out.Len())
	require.ErrorIs(t, c.Close(), syscall.EIO)
	require.Equal(t, int32(keptForUser), block.refs.Load(), "the block is nobody's, and in no pool")
}

// The ring's results have the same errors of a broken connection as plain calls.
func TestErrorsOfTheRingAreThoseOfPlainCalls(t *testing.T) {
	for _, no := range []syscall.Errno{syscall.ECONNRESET, syscall.ETIMEDOUT, syscall.EIO} {
		t.Run(no.Error(), func(t *testing.T) {
			h := newTestPoller(t)
			c, _ := h.connect("unix")
			_ = h.hold()
			_, _, ok := c.transport.(batchReceiver).beginReceive(evRead)
			require.True(t, ok)
			c.transport.(batchReceiver).endReceive(-int32(no), false, nil)
			require.False(t, c.IsActive())
			_, err := c.Next(1)
			require.ErrorIs(t, err, no)

			c, _ = h.connect("unix")
			putPending(t, c, flushed)
			_, _, ok = c.transport.(sender).beginSend()
			require.True(t, ok)
			c.transport.(sender).endSend(-int32(no))
			require.False(t, c.IsActive())
			require.ErrorIs(t, c.Flush(), no)
			noOneInside(t, c)
		})
	}
}

func TestEndOfStreamComesThroughTheRing(t *testing.T) {
	h := newTestPoller(t)
	r := &fakeRing{size: 64}
	h.rings("always", func() (ring, error) { return r, nil })
	fl := newFleet(t, h, 8, "tcp")
	release := h.hold()
	fl.round++
	for i, peer := range fl.peers {
		_, err := io.WriteString(peer, fl.message(i))
		require.NoError(t, err)
		require.NoError(t, peer.(*net.TCPConn).CloseWrite())
	}
	release()
	for i, peer := range fl.peers {
		testkit.ExpectEnd(t, peer, fl.message(i))
	}
	for _, c := range fl.conns {
		released(t, c)
	}
}

// Ends of pipes are connections too, and served in the same batch: the operations of io_uring are for sockets only, and
// those of AIO are not.
func TestPipesAreServedBesideTheRing(t *testing.T) {
	for _, by := range []string{"io_uring", "aio"} {
		t.Run(by, func(t *testing.T) {
			h := newTestPoller(t)
			if by == "aio" {
				h.executors(aioAlways(), newRing)
			} else {
				h.rings("always", func() (ring, error) { return newRing(ioUring) })
			}
			servePipes(t, h)
		})
	}
}

func servePipes(t *testing.T, h *testPoller) {
	var in, out [2]int
	require.NoError(t, unix.Pipe2(in[:], unix.O_CLOEXEC))
	require.NoError(t, unix.Pipe2(out[:], unix.O_CLOEXEC))
	defer unix.Close(in[1])
	defer unix.Close(out[0])
	r, err := NewFDConnection(in[0])
	require.NoError(t, err)
	defer r.Close()
	w, err := NewFDConnection(out[1])
	require.NoError(t, err)
	defer w.Close()
	require.NoError(t, r.SetReadTimeout(testkit.Timeout))
	for range 3 {
		_, err = unix.Write(in[1], []byte("in"))
		require.NoError(t, err)
		s, err := r.Reader().ReadString(2)
		require.NoError(t, err)
		require.Equal(t, "in", s)

		release := h.hold()
		putPending(t, inner(w), "out")
		release()
		var p [3]byte
		_, err = io.ReadFull(fdReader(out[0]), p[:])
		require.NoError(t, err)
		require.Equal(t, "out", string(p[:]))
	}
}

// fdReader reads from a blocking descriptor.
type fdReader int

func (fd fdReader) Read(p []byte) (n int, err error) {
	for {
		n, err = unix.Read(int(fd), p)
		switch {
		case err == unix.EINTR:
		case n == 0 && err == nil && len(p) > 0:
			return 0, io.EOF
		default:
			return max(n, 0), err
		}
	}
}
