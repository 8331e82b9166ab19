//go:build linux && !netconn

package netpoll

// The end of a connection that has bytes pending: whichever side ends it, and however slow the peer reads, it gets what was
// flushed; and if it cannot get it, the connection does not stay for ever.

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/testkit"
)

const flushed = "flushed before the end"

// owing returns a connection that has pending output to a peer whose socket is full of filler, while its poller waits
// for room.
func owing(t *testing.T) (h *testPoller, c *connection, peer net.Conn, filler string) {
	t.Helper()
	h = newTestPoller(t)
	c, peer = h.connect("unix")
	filler = fill(t, c)
	release := h.hold()
	putPending(t, c, flushed)
	release()
	h.settle()
	require.True(t, c.life.load().has(bitPending), "sent, though the socket was full: %v", c.life.load())
	require.True(t, c.wantWrite.Load())
	return h, c, peer, filler
}

// countCloses counts the calls of the close callbacks.
func countCloses(t *testing.T, c *connection) *atomic.Int32 {
	t.Helper()
	n := new(atomic.Int32)
	require.NoError(t, c.AddCloseCallback(func(Connection) error { n.Add(1); return nil }))
	return n
}

func TestCloseSendsWhatIsQueued(t *testing.T) {
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		h := newTestPoller(t)
		c, peer := h.connect(network)
		closes := countCloses(t, c)
		_ = h.hold()
		putPending(t, c, flushed)
		_, err := c.WriteString("never flushed")
		require.NoError(t, err)
		require.NoError(t, c.Close())
		require.ErrorIs(t, c.Flush(), ErrConnClosed)
		require.NoError(t, c.Close())
		testkit.ExpectEnd(t, peer, flushed)
		released(t, c)
		testkit.Eventually(t, func() bool { return closes.Load() == 1 }, "the close callback runs once")
	})
}

func TestCloseLingersUntilASlowPeerHasAll(t *testing.T) {
	h, c, peer, filler := owing(t)
	closes := countCloses(t, c)
	require.NoError(t, c.Close())
	require.Equal(t, phaseClosing, c.life.load().phase(), "it still has pending output")
	require.Zero(t, closes.Load(), "the descriptor is still in use")
	var got bytes.Buffer
	for { // a little at a time
		n, err := io.CopyN(&got, peer, 10_000)
		if err == io.EOF {
			break
		}
		require.NoError(t, err, "after %d bytes", n)
		h.settle()
	}
	require.True(t, filler+flushed == got.String(), "got %d bytes, want %d", got.Len(), len(filler+flushed))
	released(t, c)
	testkit.Eventually(t, func() bool { return closes.Load() == 1 }, "the close callback")
}

func TestCloseWriteEndsTheStreamBehindWhatIsQueued(t *testing.T) {
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		h := newTestPoller(t)
		c, peer := h.connect(network)
		release := h.hold()
		putPending(t, c, flushed)
		require.NoError(t, c.CloseWrite())
		require.ErrorIs(t, c.Flush(), syscall.EPIPE)
		testkit.ExpectEnd(t, peer, flushed)
		release()
		_, err := io.WriteString(peer, "the other direction goes on")
		require.NoError(t, err)
		s, err := c.ReadString(len("the other direction goes on"))
		require.NoError(t, err)
		require.Equal(t, "the other direction goes on", s)
		noOneInside(t, c)
	})
}

func TestCloseWriteWithAFullSocketEndsTheStreamWhenAllIsSent(t *testing.T) {
	_, c, peer, filler := owing(t)
	require.NoError(t, c.CloseWrite())
	_, err := c.WriteString("too late")
	require.NoError(t, err)
	require.ErrorIs(t, c.Flush(), syscall.EPIPE)
	testkit.ExpectEnd(t, peer, filler+flushed)
	noOneInside(t, c)
	_, err = c.WriteString("too late")
	require.NoError(t, err)
	require.ErrorIs(t, c.Flush(), syscall.EPIPE)
	require.Zero(t, c.out.Len(), "what was too late is dropped")
}

func TestDetachHandsOverBehindWhatIsQueued(t *testing.T) {
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		h := newTestPoller(t)
		c, peer := h.connect(network)
		fd := c.Fd()
		_ = h.hold()
		putPending(t, c, flushed)
		require.NoError(t, c.Detach())
		_, err := unix.Write(fd, []byte(" and the new owner's"))
		require.NoError(t, err)
		require.NoError(t, unix.Close(fd))
		testkit.ExpectEnd(t, peer, flushed+" and the new owner's")
		released(t, c)
	})
}

func TestDetachWaitsUntilAFullSocketHasWhatIsPending(t *testing.T) {
	_, c, peer, filler := owing(t)
	fd := c.Fd()
	result := make(chan error, 1)
	go func() { result <- c.Detach() }()
	testkit.Eventually(t, func() bool { return c.life.load().phase() >= phaseClosing }, "Detach has begun")
	require.Empty(t, result, "the poller still sends")
	testkit.Expect(t, peer, filler+flushed)
	require.NoError(t, testkit.Receive(t, result, "Detach"))
	_, err := unix.Write(fd, []byte("new owner"))
	require.NoError(t, err)
	require.NoError(t, unix.Close(fd))
	testkit.ExpectEnd(t, peer, "new owner")
}

func TestIdleLimitSendsWhatIsPending(t *testing.T) {
	_, c, peer, filler := owing(t)
	require.NoError(t, c.SetIdleLimit(20*time.Millisecond))
	testkit.Eventually(t, func() bool { return c.life.load().phase() >= phaseClosing }, "the idle limit closes")
	require.Equal(t, causeIdle, c.life.load().cause())
	testkit.ExpectEnd(t, peer, filler+flushed)
	released(t, c)
}

// A peer that takes nothing is given up after the write timeout.
func TestCloseGivesUpAPeerThatTakesNothing(t *testing.T) {
	_, c, peer, filler := owing(t)
	closes := countCloses(t, c)
	require.NoError(t, c.SetWriteTimeout(20*time.Millisecond))
	require.NoError(t, c.Close())
	released(t, c)
	testkit.Eventually(t, func() bool { return closes.Load() == 1 }, "the close callback")
	testkit.ExpectEnd(t, peer, filler)
}

// Output that was given up shows: over TCP the end is a reset, and the peer does not take what it got for everything.
func TestLostOutputEndsInAReset(t *testing.T) {
	h := newTestPoller(t)
	c, peer := h.connect("tcp")
	put(t, c, "some")
	testkit.Expect(t, peer, "some")
	c.life.set(bitSendFailed)
	require.Error(t, c.Close())
	_, err := peer.Read(make([]byte, 1))
	require.ErrorIs(t, err, syscall.ECONNRESET)
}

// A peer that has taken bytes since is waited for.
func TestCloseWaitsOnForAPeerThatTakesSomething(t *testing.T) {
	_, c, peer, filler := owing(t)
	require.NoError(t, c.Close())
	c.checkLinger(c.out.consumed()-1, time.Millisecond)
	require.True(t, c.life.load().has(bitPending), "given up though something was taken since")
	testkit.ExpectEnd(t, peer, filler+flushed)
	released(t, c)
}

// A Flush that waits for room when its connection is closed fails; what was pending before it is sent, and what it would
// have sent is not.
func TestCloseDuringAFlushSendsOnlyWhatWasPending(t *testing.T) {
	_, c, peer, filler := owing(t)
	large := bytes.Repeat([]byte("x"), BinaryInplaceThreshold+1)
	_, err := c.WriteBinary(large)
	require.NoError(t, err)
	result := make(chan error, 1)
	go func() { result <- c.Flush() }()
	testkit.Eventually(t, func() bool { return c.writing.Waiting() }, "Flush waits")
	require.NoError(t, c.Close())
	require.ErrorIs(t, testkit.Receive(t, result, "Flush"), ErrConnClosed)
	clear(large) // the user's again
	testkit.ExpectEnd(t, peer, filler+flushed)
	released(t, c)
}

func TestFlushThatTimesOutLeavesOnlyWhatWasPendingToThePoller(t *testing.T) {
	h, c, peer, filler := owing(t)
	large := strings.Repeat("x", BinaryInplaceThreshold+1)
	_, err := c.WriteString(large)
	require.NoError(t, err)
	require.NoError(t, c.SetWriteTimeout(20*time.Millisecond))
	require.ErrorIs(t, c.Flush(), ErrWriteTimeout)
	testkit.Expect(t, peer, filler+flushed)
	noOneInside(t, c)
	h.settle()
	require.Equal(t, len(large), c.out.Len(), "sent behind the back of its user")
	_, err = c.WriteString(" and more")
	require.NoError(t, err)
	require.NoError(t, c.SetWriteTimeout(0))
	require.NoError(t, c.Flush())
	testkit.Expect(t, peer, large+" and more")
}

func TestWriteDeadlineHoldsForAFlushBehindWhatIsPending(t *testing.T) {
	_, c, peer, filler := owing(t)
	_, err := c.WriteString("small")
	require.NoError(t, err)
	require.NoError(t, c.SetWriteDeadline(time.Now().Add(20*time.Millisecond)))
	require.ErrorIs(t, c.Flush(), os.ErrDeadlineExceeded)
	n, err := c.Write([]byte("argument"))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.Zero(t, n)
	testkit.Expect(t, peer, filler+flushed)
	noOneInside(t, c)
	require.NoError(t, c.SetWriteDeadline(time.Time{}))
	require.NoError(t, c.Flush())
	testkit.Expect(t, peer, "small")
}

// requireBroken requires that the connection says that what it flushed did not arrive, again and again, and that what
// is flushed into it does not pile up.
func requireBroken(t *testing.T, c *connection) {
	t.Helper()
	for range 3 {
		_, err := c.WriteString("more")
		require.NoError(t, err)
		err = c.Flush()
		require.True(t, testkit.IsReset(err), "Flush returned %v", err)
		_, err = c.Write([]byte("more"))
		require.True(t, testkit.IsReset(err), "Write returned %v", err)
		require.Zero(t, c.out.Len(), "what can never be sent is kept")
	}
}

func TestPeerThatResetsWithSendsQueuedIsReported(t *testing.T) {
	h := newTestPoller(t)
	c, peer := h.connect("tcp")
	var disconnects atomic.Int32
	require.NoError(t, c.SetOnDisconnect(func(_ context.Context, _ Connection) { disconnects.Add(1) }))
	closes := countCloses(t, c)
	release := h.hold()
	putPending(t, c, flushed)
	require.NoError(t, peer.(*net.TCPConn).SetLinger(0))
	require.NoError(t, peer.Close())
	release()
	testkit.Eventually(t, func() bool { return !c.IsActive() }, "the reset is noticed")
	noOneInside(t, c)
	requireBroken(t, c)
	_, err := c.ReadString(1)
	require.ErrorIs(t, err, ErrConnClosed)
	testkit.Eventually(t, func() bool { return disconnects.Load() == 1 }, "OnDisconnect")
	require.ErrorIs(t, c.Close(), syscall.ECONNRESET)
	require.NoError(t, c.Close(), "it was said once")
	released(t, c)
	testkit.Eventually(t, func() bool { return closes.Load() == 1 }, "the close callback runs once")
	require.EqualValues(t, 1, disconnects.Load())
}

func TestPeerThatGoesWhileTheSocketIsFullIsReported(t *testing.T) {
	_, c, peer, _ := owing(t)
	require.NoError(t, peer.Close())
	testkit.Eventually(t, func() bool { return !c.IsActive() && !c.life.load().has(bitPending) }, "the end is noticed")
	noOneInside(t, c)
	requireBroken(t, c)
	require.Error(t, c.Close())
	released(t, c)
}

func TestCloseDoesNotWaitForAPeerThatIsGone(t *testing.T) {
	_, c, peer, _ := owing(t)
	require.NoError(t, c.Close())
	require.NoError(t, peer.Close())
	released(t, c)
}
