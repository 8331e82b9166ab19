//go:build faults && linux && !netconn && !kqsim

package test

// Accepting while the kernel refuses to: a sample of single faults would not show that the listener waits in between,
// and how long.

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/fault"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

// refusal makes accept fail for a while.
type refusal struct {
	errno syscall.Errno
	times int64
	calls atomic.Int64
	last  chan struct{} // closed with the last refusal

	mu    sync.Mutex
	first time.Time     // of the refusals; guarded by mu, as the next
	took  time.Duration // from the first to the last
}

// refuseAccept makes the next calls of accept fail, until the test ends at the latest.
func refuseAccept(t *testing.T, errno syscall.Errno, times int) *refusal {
	r := &refusal{errno: errno, times: int64(times), last: make(chan struct{})}
	fault.SetHook(func(op fault.Op, size int) (int, syscall.Errno) {
		if op != fault.Accept {
			return size, 0
		}
		return size, r.answer()
	})
	t.Cleanup(func() { fault.SetHook(nil) })
	return r
}

func (r *refusal) answer() syscall.Errno {
	n := r.calls.Add(1)
	if n > r.times {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if n == 1 {
		r.first = time.Now()
	}
	if n == r.times {
		r.took = time.Since(r.first)
		close(r.last)
	}
	return r.errno
}

// lasted is the time from the first refusal to the last one.
func (r *refusal) lasted(t *testing.T) time.Duration {
	receiveEnd(t, r.last)
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.took
}

// receiveEnd waits until ch is closed.
func receiveEnd(t *testing.T, ch <-chan struct{}) {
	t.Helper()
	select {
	case <-ch:
	case <-time.After(testkit.Timeout):
		t.Fatalf("waited %v in vain\n%s", testkit.Timeout, testkit.Stacks())
	}
}

// Behaviour 6.8: a listener that finds no room in the system tries again, ever more seldom, and serves all that have
// waited when there is room. The times to wait are 5, 10, 20 and 40 ms.
func TestListenerWaitsBetweenAcceptsThatFail(t *testing.T) {
	for _, errno := range []syscall.Errno{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EPERM,
	} {
		t.Run(errno.Error(), func(t *testing.T) {
			testkit.OverNetworks(t, func(t *testing.T, network string) {
				testkit.CaptureLog(t, netpoll.SetLoggerOutput)
				addr := testnet.NewServer(t, network, testnet.Echo).Addr()
				const refusals, waiting = 5, 3
				r := refuseAccept(t, errno, refusals)
				var peers []net.Conn
				for range waiting {
					peers = append(peers, testkit.Dial(t, addr))
				}
				require.GreaterOrEqual(t, r.lasted(t), 75*time.Millisecond, "it did not wait between accepts")
				for _, peer := range peers {
					testkit.ExpectEcho(t, peer, "hello")
				}
				// Each refusal, each new connection, and for each look at the listener one call that finds none.
				require.LessOrEqual(t, r.calls.Load(), int64(refusals+2*waiting+1))
			})
		})
	}
}

// Behaviour 6.8: a new connection that is gone before it was accepted is no reason to wait for the next one.
func TestListenerGoesOnAtOnceAfterANewConnectionThatIsGone(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.ECONNABORTED, syscall.EPROTO, syscall.EINTR} {
		t.Run(errno.Error(), func(t *testing.T) {
			log := testkit.CaptureLog(t, netpoll.SetLoggerOutput)
			addr := testnet.NewServer(t, "tcp", testnet.Echo).Addr()
			const refusals = 10
			r := refuseAccept(t, errno, refusals)
			testkit.ExpectEcho(t, testkit.Dial(t, addr), "hello")
			require.LessOrEqual(t, r.calls.Load(), int64(refusals+3))
			require.Empty(t, log.String(), "nobody has to wait, and there is nothing to say")
		})
	}
}

// A caller of Accept gets errors that it can act on, and the listener goes on.
func TestAcceptOfACallerFailsOnceAndGoesOn(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM} {
		t.Run(errno.Error(), func(t *testing.T) {
			ln := testnet.Listen(t, "tcp")
			peer := testkit.Dial(t, ln.Addr())
			refuseAccept(t, errno, 1)
			_, err := ln.Accept()
			require.ErrorIs(t, err, errno)
			var op *net.OpError
			require.ErrorAs(t, err, &op)
			require.Equal(t, "accept", op.Op)
			conn, err := ln.Accept()
			require.NoError(t, err)
			defer conn.Close()
			testkit.Send(t, peer, "x")
			_, err = io.ReadFull(conn, make([]byte, 1))
			require.NoError(t, err)
		})
	}
}

// A caller of Accept does not learn of new connections that are gone.
func TestAcceptOfACallerIsNotToldOfNewConnectionsThatAreGone(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.ECONNABORTED, syscall.EINTR} {
		t.Run(errno.Error(), func(t *testing.T) {
			ln := testnet.Listen(t, "tcp")
			testkit.Dial(t, ln.Addr())
			r := refuseAccept(t, errno, 3)
			conn, err := ln.Accept()
			require.NoError(t, err)
			require.NoError(t, conn.Close())
			require.Equal(t, int64(4), r.calls.Load())
		})
	}
}

// Behaviour 6.1: Shutdown does not wait for a listener that waits for room in the system.
func TestShutdownEndsAListenerThatWaitsForRoom(t *testing.T) {
	testkit.CaptureLog(t, netpoll.SetLoggerOutput)
	ln := testnet.Listen(t, "tcp")
	s := testnet.ServeOn(t, ln, testnet.Echo)
	r := refuseAccept(t, syscall.ENOBUFS, 1<<30)
	testkit.Dial(t, ln.Addr())
	testkit.Eventually(t, func() bool { return r.calls.Load() >= 4 }) // it waits for 40 ms now
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Timeout)
	defer cancel()
	require.NoError(t, s.Loop.Shutdown(ctx))
	require.NoError(t, testkit.Receive(t, s.Served))
	calls := r.calls.Load()
	time.Sleep(2 * testkit.Calm)
	require.Equal(t, calls, r.calls.Load(), "it still accepts")
}
