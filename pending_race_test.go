//go:build linux && !netconn && !kqsim

package netpoll

// Moments between two steps of owing that a test from outside hits once in a million times, and the inside can hold
// still.

import (
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/testkit"
)

// dripping is a transport that takes as many bytes as it is allowed to, and runs a function at its next updateInterest.
type dripping struct {
	fakeTransport
	allowed atomic.Int64
	updated func() // nil: nothing
}

func newDripping(below transport) *dripping {
	d := &dripping{fakeTransport: fakeTransport{below: below}}
	d.onSend = func(v *vector) (int, error) {
		allowed := int(d.allowed.Load())
		if allowed == 0 {
			return 0, errWouldBlock
		}
		v.Limit(allowed)
		n, err := below.send(v, 0)
		d.allowed.Add(-int64(n))
		return n, err
	}
	d.onUpdate = func() {
		if f := d.updated; f != nil {
			d.updated = nil
			f()
		}
	}
	return d
}

// dripped returns a connection that has pending output over a transport that takes nothing. The real poller is held:
// the test takes the poller's part.
func dripped(t *testing.T) (c *connection, d *dripping, read func(want string)) {
	t.Helper()
	h := newTestPoller(t)
	c, peer := h.connect("unix")
	d = newDripping(c.transport)
	h.do(func() { c.transport = d })
	_ = h.hold()
	putPending(t, c, flushed)
	c.sendPending()
	require.True(t, c.wantWrite.Load())
	return c, d, func(want string) { t.Helper(); testkit.Expect(t, peer, want) }
}

// roomBetween makes the poller report room for everything while the caller makes ready to leave with output pending,
// which is when the poller cannot send, because the caller still holds the sending.
func roomBetween(c *connection, d *dripping) {
	d.updated = func() {
		d.allowed.Store(1 << 20)
		pollerReports(c, evWrite)
	}
}

// Room that is reported while a goroutine that could not send is about to leave is still used.
func TestRoomReportedWhileTheSenderLeavesIsUsed(t *testing.T) {
	for _, tc := range []struct {
		name  string
		leave func(t *testing.T, c *connection, d *dripping)
	}{
		{"CloseWrite", func(t *testing.T, c *connection, d *dripping) {
			roomBetween(c, d)
			require.NoError(t, c.CloseWrite())
		}},
		{"Close", func(t *testing.T, c *connection, d *dripping) {
			roomBetween(c, d)
			require.NoError(t, c.Close())
		}},
		{"File", func(t *testing.T, c *connection, d *dripping) {
			roomBetween(c, d)
			f, err := c.File()
			require.NoError(t, err)
			require.NoError(t, f.Close())
		}},
		{"poller's send", func(t *testing.T, c *connection, d *dripping) {
			roomBetween(c, d)
			c.sendPending()
		}},
		{"Flush that fails", func(t *testing.T, c *connection, d *dripping) {
			require.NoError(t, c.SetWriteDeadline(time.Now().Add(-time.Second)))
			_, err := c.WriteString("not sent")
			require.NoError(t, err)
			roomBetween(c, d)
			require.ErrorIs(t, c.Flush(), ErrWriteTimeout)
		}},
		{"RawConn.Write that fails", func(t *testing.T, c *connection, d *dripping) {
			require.NoError(t, c.SetWriteDeadline(time.Now().Add(-time.Second)))
			roomBetween(c, d)
			require.ErrorIs(t, rawConn{c}.Write(func(uintptr) bool { return true }), ErrWriteTimeout)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, d, read := dripped(t)
			tc.leave(t, c, d)
			require.False(t, c.life.load().has(bitPending), "nobody will ever send it: %v", c.life.load())
			read(flushed)
		})
	}
}

// Pending output goes out in as many pieces as the transport takes.
func TestPendingBytesGoOutPieceByPiece(t *testing.T) {
	c, d, read := dripped(t)
	for range len(flushed) {
		require.True(t, c.life.load().has(bitPending))
		d.allowed.Store(1)
		pollerReports(c, evWrite)
	}
	read(flushed)
	noOneInside(t, c)
}

// The poller may look at its queue late: a connection that has paid meanwhile is left alone.
func TestQueuedConnectionWithNothingPendingIsLeftAlone(t *testing.T) {
	h := newTestPoller(t)
	c, peer := h.connect("unix")
	release := h.hold()
	putPending(t, c, "queued ")
	_, err := c.Write([]byte("sent "))
	require.NoError(t, err)
	_, err = c.WriteString("not flushed")
	require.NoError(t, err)
	release()
	h.settle()
	testkit.Expect(t, peer, "queued sent ")
	require.NoError(t, c.Close())
	testkit.ExpectEnd(t, peer, "")
}

// A Flush that may not be left to the poller after all is no pending output: when it fails its bytes are not sent
// later.
func TestFlushThatCouldNotBePendingIsNotPending(t *testing.T) {
	c, d, read := dripped(t)
	c.wantWrite.Store(false) // as before the poller has tried to send
	require.NoError(t, c.SetWriteTimeout(10*time.Millisecond))
	c.peerClosed(0, false) // the peer has ended its side: owing is over
	_, err := c.WriteString(" small")
	require.NoError(t, err)
	require.ErrorIs(t, c.Flush(), ErrWriteTimeout)
	d.allowed.Store(1 << 20)
	pollerReports(c, evWrite)
	read(flushed)
	require.False(t, c.life.load().has(bitPending))
	require.Equal(t, len(" small"), c.out.Len(), "sent behind the back of its user")
}

// The linger's timer finds a goroutine sending, which then gets stuck: the connection is still given up.
func TestLingerGivesUpThoughSomebodyIsSending(t *testing.T) {
	c, _, _ := dripped(t)
	require.NoError(t, c.Close())
	require.True(t, c.life.enterSending())
	c.checkLinger(c.out.consumed(), time.Second)
	c.endOutput(bitSending)
	released(t, c)
}

// A poller that fails sends nothing any more. The pending output of its connections is dropped at once, and said to be
// lost.
func TestFailedPollerForgetsWhatIsPending(t *testing.T) {
	for _, flushing := range []bool{false, true} {
		t.Run(map[bool]string{false: "alone", true: "with a Flush that waits"}[flushing], func(t *testing.T) {
			testkit.CaptureLog(t, SetLoggerOutput)
			h, c, _, _ := owing(t)
			result := make(chan error, 1)
			if flushing {
				_, err := c.WriteBinary([]byte(strings.Repeat("x", BinaryInplaceThreshold+1)))
				require.NoError(t, err)
				go func() { result <- c.Flush() }()
				testkit.Eventually(t, func() bool { return c.writing.Waiting() }, "Flush waits")
			}
			h.fail()
			released(t, c)
			if flushing {
				require.ErrorIs(t, testkit.Receive(t, result, "Flush"), ErrConnClosed)
			}
			require.ErrorIs(t, c.Flush(), ErrConnClosed)
		})
	}
}

// Output that is queued when the poller fails is sent if there is room, and the ring that may be used for it is closed.
func TestFailingPollerSendsItsQueue(t *testing.T) {
	testkit.CaptureLog(t, SetLoggerOutput)
	h := newTestPoller(t)
	var made []*fakeRing
	h.rings("always", func() (ring, error) {
		r := &fakeRing{size: 8}
		made = append(made, r)
		return r, nil
	})
	c, peer := h.connect("tcp")
	release := h.hold()
	putPending(t, c, flushed)
	h.spoil()
	release()
	testkit.Receive(t, h.done, "the poller's failure")
	testkit.ExpectEnd(t, peer, flushed)
	released(t, c)
	for i, r := range made {
		require.EqualValues(t, 1, r.closed.Load(), "ring %d of %d", i, len(made))
	}
}

// Nothing is left to a poller that has ended: it would never look.
func TestEndedPollerTakesNoSends(t *testing.T) {
	p, err := newPoller(nil)
	require.NoError(t, err)
	p.leader.sends.setOpen()
	p.retire()
	testkit.Receive(t, p.done, "the end of the poller")
	p.leader.sends.mu.Lock()
	defer p.leader.sends.mu.Unlock()
	require.False(t, p.leader.sends.open)
}

// fail makes the poller fail.
func (h *testPoller) fail() {
	h.t.Helper()
	h.spoil()
	h.sel.interrupt()
	testkit.Receive(h.t, h.done, "the poller's failure")
}

// spoil puts another file in the place of the poller's queue: the next look fails.
func (h *testPoller) spoil() {
	h.t.Helper()
	null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	require.NoError(h.t, err)
	defer unix.Close(null)
	require.NoError(h.t, unix.Dup3(null, h.sel.epfd, unix.O_CLOEXEC))
}
