//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll_test

// This file holds the tests of deadlines in processes whose wall clock has been set, as it is when a virtual machine
// wakes from a snapshot.

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
)

// inShiftedProcess runs body in processes of its own, one with a wall clock that was put back and one with one that was
// put forward.
func inShiftedProcess(t *testing.T, body func(t *testing.T)) {
	for name, d := range map[string]time.Duration{"back": time.Hour, "forward": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			testkit.OwnProcess(t, func(t *testing.T) {
				netpoll.ShiftClockStart(d)
				body(t)
			})
		})
	}
}

// bare200ms is a deadline in 200 ms without a monotonic reading, as times from a database are.
func bare200ms() time.Time { return time.Now().UTC().Round(0).Add(200 * time.Millisecond) }

// Behaviour 3.11: a deadline is a duration from the moment it is set, whatever the wall clock has done before, also
// without a monotonic reading.
func TestDeadlineWithoutMonotonicReadingIsADuration(t *testing.T) {
	calls := map[string]func(conn netpoll.Connection) error{
		"SetReadDeadline, Read": func(conn netpoll.Connection) error {
			return errors.Join(conn.SetReadDeadline(bare200ms()), testkit.ErrorOf(conn.Read(make([]byte, 1))))
		},
		"SetDeadline, Next": func(conn netpoll.Connection) error {
			return errors.Join(conn.SetDeadline(bare200ms()), testkit.ErrorOf(conn.Reader().Next(1)))
		},
		"SetWriteDeadline, Write": func(conn netpoll.Connection) error {
			return errors.Join(conn.SetWriteDeadline(bare200ms()), testkit.ErrorOf(conn.Write(make([]byte, 64<<20))))
		},
	}
	inShiftedProcess(t, func(t *testing.T) {
		for name, call := range calls {
			t.Run(name, func(t *testing.T) {
				conn, _ := testnet.Dialed(t, "tcp")
				requireAfter100ms(t, func() error { return call(conn) })
			})
			t.Run(name+" over a net.Conn", func(t *testing.T) {
				end, other := net.Pipe()
				defer other.Close()
				conn, err := netpoll.NewConnection(end)
				require.NoError(t, err)
				defer conn.Close()
				requireAfter100ms(t, func() error { return call(conn) })
			})
		}
	})
}

// requireAfter100ms fails unless f ends for a deadline, and not at once.
func requireAfter100ms(t *testing.T, f func() error) {
	t.Helper()
	start := time.Now()
	var err error
	testkit.Within(t, testkit.Timeout, func() { err = f() })
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.GreaterOrEqual(t, time.Since(start), 100*time.Millisecond)
}

// deadlineConn notes its deadlines.
type deadlineConn struct {
	net.Conn
	deadlines chan time.Time
}

func (c *deadlineConn) SetWriteDeadline(d time.Time) error {
	select {
	case c.deadlines <- d:
	default: // only the first counts
	}
	return c.Conn.SetWriteDeadline(d)
}

// Behaviour 3.11: the same for the deadlines of a net.Conn below, which may go by the wall clock.
func TestNetConnBelowIsToldTheDeadlineByTheWallClock(t *testing.T) {
	inShiftedProcess(t, func(t *testing.T) {
		end, other := net.Pipe()
		defer other.Close()
		below := &deadlineConn{end, make(chan time.Time, 1)}
		conn, err := netpoll.NewConnection(below)
		require.NoError(t, err)
		defer conn.Close()
		want := time.Now().UTC().Round(0).Add(testkit.Timeout)
		require.NoError(t, conn.SetWriteDeadline(want))
		written := testkit.Blocked(t, func() error { return testkit.ErrorOf(conn.Write([]byte("x"))) })
		told := testkit.Receive(t, below.deadlines)
		require.WithinDuration(t, want, told.Round(0), testkit.Timeout/2, "by the wall clock")
		require.InDelta(t, time.Until(want), time.Until(told), float64(testkit.Timeout/2), "by the monotonic clock")
		_, err = other.Read(make([]byte, 1))
		require.NoError(t, err)
		require.NoError(t, testkit.Receive(t, written))
	})
}

// A deadline that no clock will reach is none, and one before all time has passed.
func TestExtremeDeadlines(t *testing.T) {
	conn, peer := testnet.Dialed(t, "tcp")
	for _, never := range []time.Time{time.Unix(1<<40, 0), time.Unix(1<<40, 0).UTC(), time.Now().Add(1<<63 - 1)} {
		require.NoError(t, conn.SetReadDeadline(never))
		testkit.Send(t, peer, "x")
		require.NoError(t, testkit.ErrorOf(conn.Read(make([]byte, 1))))
	}
	for _, passed := range []time.Time{{}, time.Unix(-1<<40, 0), time.Unix(0, 0), time.Now().Add(-1 << 62)} {
		if passed.IsZero() {
			passed = passed.Add(1)
		}
		require.NoError(t, conn.SetReadDeadline(passed))
		require.ErrorIs(t, testkit.ErrorOf(conn.Read(make([]byte, 1))), os.ErrDeadlineExceeded)
	}
}
