//go:build linux && !netconn

package netpoll

// Output that is left to the poller, in the moments that only the inside can hold still.

import (
	"errors"
	"fmt"
	"io"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/testkit"
)

// withOwnPoller makes a fresh poller the only one of the process until the test ends.
func withOwnPoller(t *testing.T) *poller {
	t.Helper()
	p, err := newPoller(pollers.drop)
	require.NoError(t, err)
	old := pollers.current.Swap(&[]*poller{p})
	t.Cleanup(func() {
		pollers.current.Store(old)
		p.retire()
		testkit.Receive(t, p.done, "the poller's end")
	})
	return p
}

// stuckTransport takes what a poller is to send and never sends it: the test plays the poller. While full is set there
// is no room.
type stuckTransport struct {
	fakeTransport
	full      bool
	failure   error    // the error that send returns instead
	sent      []byte   // the bytes that send took
	onUpdates []func() // called in the next calls of updateInterest, one in each
}

func newStuckTransport(c *connection) *stuckTransport {
	s := &stuckTransport{fakeTransport: fakeTransport{below: c.transport, dropsInterests: true}, full: true}
	s.onSendLater = c.addPending
	s.onSend = func(v *vector) (n int, err error) {
		switch {
		case s.failure != nil:
			return 0, s.failure
		case s.full:
			return 0, errWouldBlock
		}
		for _, b := range v.Bufs[:v.N] {
			s.sent = append(s.sent, b...)
		}
		return v.Total(), nil
	}
	s.onUpdate = func() {
		if len(s.onUpdates) > 0 {
			f := s.onUpdates[0]
			s.onUpdates = s.onUpdates[1:]
			f()
		}
	}
	return s
}

// owingPeer returns a connection that has pending "pending", and its transport, which is full.
func owingPeer(t *testing.T) (*connection, *stuckTransport) {
	t.Helper()
	conn, _ := fdConnection(t)
	c := inner(conn)
	stuck := newStuckTransport(c)
	c.transport = stuck
	flush(t, c, "pending")
	require.True(t, c.life.load().has(bitPending))
	return c, stuck
}

func flush(t *testing.T, c *connection, s string) {
	t.Helper()
	_, err := c.WriteString(s)
	require.NoError(t, err)
	require.NoError(t, c.Flush())
}

// The poller reports room at the very moment when another goroutine has found none and is about to ask for the report.
// It finds that it is not its turn to send, so the other one must look again.
func TestRoomReportedWhileAnotherSendsIsNotMissed(t *testing.T) {
	timesOut := func(err error) error {
		if !errors.Is(err, ErrWriteTimeout) {
			return fmt.Errorf("not a timeout: %w", err)
		}
		return nil
	}
	for name, c := range map[string]struct {
		skip int // updates before the one that matters
		call func(c *connection) error
	}{
		"CloseWrite": {0, (*connection).CloseWrite},
		"Close":      {0, (*connection).Close},
		"Flush":      {2, func(c *connection) error { return timesOut(c.Flush()) }}, // to begin and to end its wait
		"raw write": {2, func(c *connection) error {
			return timesOut(rawConn{c}.Write(func(uintptr) bool { return true }))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			conn, stuck := owingPeer(t)
			require.NoError(t, conn.SetWriteTimeout(time.Nanosecond))
			conn.direct = true
			reported := false
			for range c.skip {
				stuck.onUpdates = append(stuck.onUpdates, func() {})
			}
			stuck.onUpdates = append(stuck.onUpdates, func() {
				stuck.full, reported = false, true
				pollerReports(conn, evWrite)
			})
			require.NoError(t, c.call(conn))
			require.True(t, reported)
			require.Equal(t, "pending", string(stuck.sent))
			require.False(t, conn.life.load().has(bitPending), conn.life.load())
		})
	}
}

// Output that a Flush could not send in time stays queued, also while earlier output is pending.
func TestPollerSendsNothingOfAFlushThatTimedOut(t *testing.T) {
	c, stuck := owingPeer(t)
	c.peerClosed(0, true) // so that the poller may be left nothing more
	_, err := c.WriteString("mine")
	require.NoError(t, err)
	require.NoError(t, c.SetWriteTimeout(time.Millisecond))
	require.ErrorIs(t, c.Flush(), ErrWriteTimeout)

	stuck.full = false
	pollerReports(c, evWrite)
	require.Equal(t, "pending", string(stuck.sent))
	require.NoError(t, c.Flush())
	require.Equal(t, "pendingmine", string(stuck.sent))
}

func TestPassedWriteDeadlineLeavesNothingToThePoller(t *testing.T) {
	p := withOwnPoller(t)
	conn, _ := fdConnection(t)
	require.NoError(t, conn.SetWriteDeadline(time.Unix(1, 0)))
	_, err := conn.Writer().WriteString("too late")
	require.NoError(t, err)
	p.leader.sends.setOpen()
	require.ErrorIs(t, conn.Writer().Flush(), ErrWriteTimeout)
}

// A deadline is for calls. Output that was flushed before it passed is sent, even if the connection is closed after it.
func TestPassedWriteDeadlineDropsNothingThatWasFlushed(t *testing.T) {
	c, stuck := owingPeer(t)
	require.NoError(t, c.SetWriteDeadline(time.Unix(1, 0)))
	require.NoError(t, c.Close())
	<-time.After(50 * time.Millisecond) // to see that nothing happens
	require.True(t, c.life.load().has(bitPending), c.life.load())
	stuck.full = false
	pollerReports(c, evWrite)
	require.Equal(t, "pending", string(stuck.sent))
}

// Pending output that was lost is an error of every later call, which keeps nothing, and of the Close.
func TestLostOutputIsReportedAndLeavesNoMemory(t *testing.T) {
	for _, want := range []syscall.Errno{syscall.EPIPE, syscall.ECONNRESET, syscall.EIO} {
		c, stuck := owingPeer(t)
		stuck.failure = want
		c.sendPending()
		require.False(t, c.life.load().has(bitPending))
		for range 3 {
			_, err := c.WriteString("more")
			require.NoError(t, err)
			require.ErrorIs(t, c.Flush(), want)
			require.Zero(t, c.out.Len())
		}
		require.ErrorIs(t, c.Close(), want)
		require.NoError(t, c.Close())
	}
}

// An operation on the descriptor itself comes after flushed output.
func TestFdIsGivenOutAfterWhatWasFlushed(t *testing.T) {
	p := withOwnPoller(t)
	conn, peer := fdConnection(t)
	p.leader.sends.setOpen()
	flush(t, inner(conn), "first")
	require.NoError(t, unix.Shutdown(conn.(Conn).Fd(), unix.SHUT_WR))
	got, err := io.ReadAll(fdReader(peer))
	require.NoError(t, err)
	require.Equal(t, "first", string(got))
}
