//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package test

// Timeouts and deadlines of reading: the calls that they cover, which one counts, and their effect on calls that are
// waiting.

import (
	"math"
	"net"
	"os"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

// longTime is a timeout that does not pass during a test.
const longTime = time.Hour

// waitingReads are the ways to wait for input that does not come.
var waitingReads = []struct {
	name string
	do   func(conn netpoll.Connection) error
}{
	{"Next", func(conn netpoll.Connection) error { _, err := conn.Reader().Next(8); return err }},
	{"Peek", func(conn netpoll.Connection) error { _, err := conn.Reader().Peek(8); return err }},
	{"Until", func(conn netpoll.Connection) error { _, err := conn.Reader().Until('\n'); return err }},
	{"Read", func(conn netpoll.Connection) error { _, err := conn.Read(make([]byte, 8)); return err }},
}

// trickle sends a byte every now and then until the test ends.
func trickle(t *testing.T, peer net.Conn) {
	ticker := time.NewTicker(testkit.Short / 4)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-ticker.C:
				if _, err := peer.Write([]byte("x")); err != nil {
					return
				}
			case <-stop:
				return
			}
		}
	}()
	t.Cleanup(func() {
		ticker.Stop()
		close(stop)
		<-stopped
	})
}

// stillWaiting fails the test if a blocked call returns within several short timeouts.
func stillWaiting(t *testing.T, result <-chan error) {
	t.Helper()
	select {
	case err := <-result:
		t.Fatalf("returned too early, with error %v", err)
	case <-time.After(3 * testkit.Short):
	}
}

// Behaviour 3.7: a read timeout covers one call, whatever trickles in.
func TestReadTimeoutCoversTheWholeCall(t *testing.T) {
	for name, do := range map[string]func(r netpoll.Reader) error{
		"Next": func(r netpoll.Reader) error { _, err := r.Next(1 << 20); return err },
		"Skip": func(r netpoll.Reader) error { return r.Skip(1 << 20) },
	} {
		t.Run(name, func(t *testing.T) {
			conn, peer := testnet.Dialed(t, "tcp")
			trickle(t, peer)
			require.NoError(t, conn.SetReadTimeout(testkit.Short))
			for range 2 { // each call has the whole time
				start := time.Now()
				requireTimeout(t, do(conn.Reader()), netpoll.ErrReadTimeout)
				require.GreaterOrEqual(t, time.Since(start), testkit.Short)
			}
		})
	}
}

// Behaviour 3.5: the timeout of Until is for the whole call too.
func TestUntilTimeoutCoversTheWholeCall(t *testing.T) {
	conn, peer := testnet.Dialed(t, "tcp")
	trickle(t, peer)
	_, err := conn.Reader().Peek(1) // on a busy machine the first byte may take longer than the timeout
	require.NoError(t, err)
	require.NoError(t, conn.SetReadTimeout(testkit.Short))
	line, err := conn.Reader().Until('\n')
	requireTimeout(t, err, netpoll.ErrReadTimeout)
	require.NotEmpty(t, line, "what had trickled in")
}

// Behaviour 3.7: zero means no timeout, and removes one.
func TestZeroReadTimeoutMeansNone(t *testing.T) {
	t.Parallel()
	conn, peer := testnet.Dialed(t, "tcp")
	require.NoError(t, conn.SetReadTimeout(testkit.Short))
	require.NoError(t, conn.SetReadTimeout(0))
	result := testkit.Blocked(t, func() error { _, err := conn.Reader().Next(1); return err })
	stillWaiting(t, result)
	testkit.Send(t, peer, "x")
	require.NoError(t, testkit.Receive(t, result))
}

// Behaviour 3.7: a negative timeout is ignored: the one before it counts.
func TestNegativeReadTimeoutIsIgnored(t *testing.T) {
	conn, _ := testnet.Dialed(t, "tcp")
	require.NoError(t, conn.SetReadTimeout(testkit.Short))
	require.NoError(t, conn.SetReadTimeout(-1))
	_, err := conn.Reader().Next(1)
	requireTimeout(t, err, netpoll.ErrReadTimeout)
}

// Behaviour 3.7: huge timeouts do not overflow into the past.
func TestHugeReadTimeoutDoesNotOverflow(t *testing.T) {
	for _, timeout := range []time.Duration{math.MaxInt64, math.MaxInt64 - 1, math.MaxInt64 / 2} {
		conn, peer := testnet.Dialed(t, "tcp")
		require.NoError(t, conn.SetReadTimeout(timeout))
		result := testkit.Blocked(t, func() error { _, err := conn.Reader().Next(1); return err })
		testkit.Send(t, peer, "x")
		require.NoError(t, testkit.Receive(t, result), "with a timeout of %d", timeout)
	}
}

// Behaviour 3.7: a deadline overrides the timeout, whichever is earlier; the zero time clears it.
func TestReadDeadlineOverridesTimeout(t *testing.T) {
	next := func(conn netpoll.Connection) func() error {
		return func() error { _, err := conn.Reader().Next(1); return err }
	}
	t.Run("earlier deadline", func(t *testing.T) {
		conn, _ := testnet.Dialed(t, "tcp")
		require.NoError(t, conn.SetReadTimeout(longTime))
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(testkit.Short)))
		requireTimeout(t, testkit.Receive(t, testkit.Blocked(t, next(conn))), netpoll.ErrReadTimeout)
	})
	t.Run("later deadline", func(t *testing.T) {
		conn, peer := testnet.Dialed(t, "tcp")
		require.NoError(t, conn.SetReadTimeout(testkit.Short))
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(longTime)))
		result := testkit.Blocked(t, next(conn))
		stillWaiting(t, result)
		testkit.Send(t, peer, "x")
		require.NoError(t, testkit.Receive(t, result))
	})
	t.Run("cleared deadline", func(t *testing.T) {
		conn, _ := testnet.Dialed(t, "tcp")
		require.NoError(t, conn.SetReadTimeout(testkit.Short))
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(longTime)))
		require.NoError(t, conn.SetReadDeadline(time.Time{}))
		requireTimeout(t, testkit.Receive(t, testkit.Blocked(t, next(conn))), netpoll.ErrReadTimeout)
	})
	t.Run("cleared past deadline", func(t *testing.T) {
		conn, peer := testnet.Dialed(t, "tcp")
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(-time.Second)))
		requireTimeout(t, next(conn)(), netpoll.ErrReadTimeout)
		require.NoError(t, conn.SetReadDeadline(time.Time{}))
		result := testkit.Blocked(t, next(conn))
		testkit.Send(t, peer, "x")
		require.NoError(t, testkit.Receive(t, result))
	})
}

// Behaviour 3.8: a deadline takes effect on calls that are already blocked.
func TestReadDeadlineWakesBlockedCall(t *testing.T) {
	t.Parallel()
	for _, call := range waitingReads {
		for name, set := range map[string]func(conn netpoll.Connection) error{
			"past":         func(c netpoll.Connection) error { return c.SetReadDeadline(time.Unix(1, 0)) },
			"near":         func(c netpoll.Connection) error { return c.SetReadDeadline(time.Now().Add(testkit.Short)) },
			"SetDeadline":  func(c netpoll.Connection) error { return c.SetDeadline(time.Now()) },
			"read timeout": func(c netpoll.Connection) error { return c.SetReadTimeout(testkit.Short) },
		} {
			t.Run(call.name+"/"+name, func(t *testing.T) {
				conn, _ := testnet.Dialed(t, "tcp")
				result := testkit.Blocked(t, func() error { return call.do(conn) })
				require.NoError(t, set(conn))
				require.ErrorIs(t, testkit.Receive(t, result), os.ErrDeadlineExceeded)
			})
		}
	}
}

// Behaviour 3.8: a blocked call also follows a deadline that moves away, or is cleared.
func TestReadDeadlineThatMovesAwayIsFollowed(t *testing.T) {
	for _, call := range waitingReads {
		for name, later := range map[string]time.Time{"extended": time.Now().Add(longTime), "cleared": {}} {
			t.Run(call.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				conn, peer := testnet.Dialed(t, "tcp")
				require.NoError(t, conn.SetReadDeadline(time.Now().Add(testkit.Ample)))
				result := testkit.Blocked(t, func() error { return call.do(conn) })
				require.NoError(t, conn.SetReadDeadline(later))
				testkit.Silent(t, 2*testkit.Ample, result, "the end")
				testkit.Send(t, peer, "0123456\n")
				require.NoError(t, testkit.Receive(t, result))
			})
		}
	}
}

// Behaviour 3.8: a timeout that grows, or is removed, holds for the call that is blocked, from its beginning.
func TestReadTimeoutThatGrowsIsFollowed(t *testing.T) {
	for name, timeout := range map[string]time.Duration{"longer": longTime, "none": 0} {
		t.Run(name, func(t *testing.T) {
			conn, peer := testnet.Dialed(t, "tcp")
			t.Parallel()
			require.NoError(t, conn.SetReadTimeout(testkit.Ample))
			result := testkit.Blocked(t, func() error { _, err := conn.Reader().Next(1); return err })
			require.NoError(t, conn.SetReadTimeout(timeout))
			testkit.Silent(t, 2*testkit.Ample, result, "the end")
			testkit.Send(t, peer, "x")
			require.NoError(t, testkit.Receive(t, result))
		})
	}
}

// Behaviour 3.8: setting deadlines from any goroutine is no data race with the calls they concern.
func TestReadDeadlineMayBeSetFromAnyGoroutine(t *testing.T) {
	conn, peer := testnet.Dialed(t, "tcp")
	trickle(t, peer)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 2000 {
			_ = conn.SetReadDeadline(time.Now().Add(time.Duration(i%7) * time.Millisecond))
			_ = conn.SetReadTimeout(time.Duration(i%5) * time.Millisecond)
			_ = conn.SetDeadline(time.Time{})
		}
	}()
	for reading := true; reading; {
		select {
		case <-done:
			reading = false
		default:
			require.NoError(t, conn.SetReadTimeout(time.Millisecond)) // so that no round waits for ever
			if _, err := conn.Reader().Next(1); err != nil {
				require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			}
		}
	}
}

// Behaviour 3.5: with an error Until consumes what it has searched, and not a delimiter that arrives just then. A deadline
// that has passed makes that frequent: buffered input is still returned.
func TestUntilConsumesNoDelimiterWithAnError(t *testing.T) {
	conn, peer := testnet.Dialed(t, "tcp")
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(-time.Second)))
	for range 500 {
		testkit.Send(t, peer, "one\ntwo\n")
		for lines := 0; lines < 2; {
			line, err := conn.Reader().Until('\n')
			if err == nil {
				lines++
			} else {
				require.NotContains(t, string(line), "\n", "%v", err)
			}
			require.NoError(t, conn.Reader().Release())
		}
	}
}
