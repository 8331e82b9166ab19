//go:build linux && !netconn && !kqsim

package netpoll

// Pollers and their I/O batch, in moments that only a test inside the package can hold still.

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/metric"
	"github.com/cloudwego/netpoll/internal/testkit"
)

// pipeConnection returns a connection of one end of a pipe, and the descriptor of the other.
func pipeConnection(t *testing.T, end int) (conn Connection, other int) {
	t.Helper()
	var ends [2]int
	require.NoError(t, unix.Pipe2(ends[:], unix.O_CLOEXEC))
	conn, err := NewFDConnection(ends[end])
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close(); unix.Close(ends[1-end]) })
	require.NoError(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	return conn, ends[1-end]
}

// The operations of a ring are for sockets. A connection may be something else.
func TestPipeWorksWithRing(t *testing.T) {
	withRingAlways(t)
	p := withOwnPoller(t)
	reader, in := pipeConnection(t, 0)
	for range 3 {
		_, err := unix.Write(in, []byte("hello"))
		require.NoError(t, err)
		s, err := reader.Reader().ReadString(5)
		require.NoError(t, err)
		require.Equal(t, "hello", s)
	}

	writer, out := pipeConnection(t, 1)
	p.leader.sends.setOpen()
	flush(t, inner(writer), "hello")
	_, err := unix.Write(in, []byte("x")) // something for the poller to look at
	require.NoError(t, err)
	got := make([]byte, 5)
	n, err := unix.Read(out, got)
	require.NoError(t, err)
	require.Equal(t, "hello", string(got[:n]))
	require.NoError(t, writer.Close())
}

// OnPrepare runs on the poller. While it does, the poller must not be sending for a connection: a Flush, which the user
// may call in OnPrepare or under a lock that OnPrepare takes, would wait for it for ever.
func TestFlushInOnPrepareDoesNotWaitForItsOwnPoller(t *testing.T) {
	withRingAlways(t)
	p := withOwnPoller(t)
	conn, peer := fdConnection(t)
	flushed := make(chan error, 1)
	addr := serveOn(t, nil, WithOnPrepare(func(Connection) context.Context {
		_, _ = conn.Writer().WriteString("second")
		flushed <- conn.Writer().Flush()
		return nil
	}))
	p.leader.sends.setOpen()
	flush(t, inner(conn), "first ")
	fresh, err := net.Dial("tcp", addr.String())
	require.NoError(t, err)
	defer fresh.Close()
	require.NoError(t, testkit.Receive(t, flushed, "the Flush in OnPrepare"))
	require.NoError(t, conn.Close())
	var got []byte
	for len(got) < len("first second") {
		var buf [64]byte
		n, err := unix.Read(peer, buf[:])
		require.NoError(t, err)
		require.Positive(t, n)
		got = append(got, buf[:n]...)
	}
	require.Equal(t, "first second", string(got))
}

// fakeSender counts how often it is asked to send.
type fakeSender struct{ sent int }

func (s *fakeSender) addPending() bool               { return true }
func (s *fakeSender) sendPending()                   { s.sent++ }
func (s *fakeSender) beginSend() (int, []byte, bool) { s.sent++; return 0, nil, false }
func (s *fakeSender) endSend(int32)                  {}

// A poller that has ended takes no more output, because it would never send it, and leaves no output unsent and no ring
// open.
func TestEndedPollerLeavesNothingToSend(t *testing.T) {
	withRingAlways(t)
	for name, fail := range map[string]bool{"retired": false, "failed": true} {
		t.Run(name, func(t *testing.T) {
			p, err := newPoller(nil)
			require.NoError(t, err)
			queued := new(fakeSender)
			p.closing.Store(!fail)
			p.leader.sends.setOpen()
			require.True(t, p.leader.sends.add(queued))
			if fail {
				require.NoError(t, p.sel.file.Close())
			}
			p.sel.interrupt()
			testkit.Receive(t, p.done, "the poller's end")
			require.Equal(t, 1, queued.sent)
			require.False(t, p.leader.sends.add(new(fakeSender)))
			require.True(t, p.leader.io.ring == nil, "a ring was left open")
		})
	}
}

// fakeTask is a task that runs a function of the test.
type fakeTask struct {
	run        func()
	dispatched chan struct{}
}

func (f *fakeTask) runTask()  { f.run() }
func (f *fakeTask) dispatch() { close(f.dispatched) }

// stoppedPoller returns a poller that has no goroutine: the test has its leadership. A goroutine that takes it finds
// that the poller has been retired, and ends the poller.
func stoppedPoller(t *testing.T, tasks ...task) *poller {
	t.Helper()
	sel, err := newSelector()
	require.NoError(t, err)
	p := makePoller(sel, nil, new(metric.Set))
	p.leader.batch.ready = tasks
	p.retire()
	return p
}

// A handler may run for as long as its connection lives. It must not keep the others of its batch in memory.
func TestTakenLeadershipForgetsTheOtherTasks(t *testing.T) {
	release, running, ended := make(chan struct{}), make(chan struct{}), make(chan bool)
	slow := &fakeTask{run: func() { close(running); <-release }}
	next := &fakeTask{dispatched: make(chan struct{})}
	tasks := []task{slow, next}
	p := stoppedPoller(t, tasks...)
	go func() { ended <- p.runReady(p.leader, new(turn)) }()
	testkit.Receive(t, running, "the first task")
	testkit.Receive(t, next.dispatched, "the second task in the runner")
	testkit.Receive(t, p.done, "the end of the goroutine that has taken the leadership")
	require.True(t, tasks[1] == nil)
	close(release)
	require.False(t, testkit.Receive(t, ended, "the end of runReady"))
}

// withRingAlways makes pollers use a ring, where there is one, for the smallest batch until the test ends.
func withRingAlways(t *testing.T) {
	old := defaultExecutors.ring.mode.Swap(int32(executorAlways))
	t.Cleanup(func() { defaultExecutors.ring.mode.Store(old) })
}
