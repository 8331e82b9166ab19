package compat

// Kitex over this library: calls over short, long and multiplexed connections.

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/kerrors"
	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll"
)

// text returns n bytes that differ with seed.
func text(seed, n int) string {
	const alphabet = "abcdefghijklmnopqrstuvwxyz"
	shift := seed % len(alphabet)
	return strings.Repeat(alphabet[shift:]+alphabet[:shift], n/len(alphabet)+1)[:n]
}

func TestKitexUsesTheLibrary(t *testing.T) {
	forEachTransport(t, func(t *testing.T, kind transportKind) {
		s := startKitex(t, "tcp", kind)
		c, d := newKitexClient(t, s.addr, kind)
		require.NoError(t, echo(c, "hello"))
		require.Implements(t, (*netpoll.Connection)(nil), d.last.Load())
		if kind.layer == nil {
			require.IsType(t, (*netpoll.TCPConnection)(nil), d.last.Load())
		}
	})
}

// Behaviour 4.1, 4.2: messages shorter and longer than the limit up to which the library copies.
func TestKitexCarriesMessagesOfEverySize(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			forEachTransport(t, func(t *testing.T, kind transportKind) {
				s := startKitex(t, network, kind)
				c, _ := newKitexClient(t, s.addr, kind)
				for i, size := range []int{0, 1, 4095, 4096, 4097, 64 << 10, 1 << 20} {
					require.NoError(t, echo(c, text(i, size)), "%d bytes", size)
				}
			})
		})
	}
}

func TestKitexKeepsAndReusesConnections(t *testing.T) {
	const calls = 10
	atMost := map[string]int32{short.name: calls, long.name: 1, longTTHeader.name: 1, mux.name: muxConnections}
	forEachTransport(t, func(t *testing.T, kind transportKind) {
		s := startKitex(t, "tcp", kind)
		c, d := newKitexClient(t, s.addr, kind)
		for i := range calls {
			require.NoError(t, echo(c, text(i, 100)))
		}
		if kind.name == short.name {
			require.EqualValues(t, calls, d.dials.Load(), "a short connection was used twice")
		}
		require.LessOrEqual(t, d.dials.Load(), atMost[kind.name])
	})
}

// Behaviour 7.1: on the multiplexed transport all these calls share the queues of two connections.
func TestKitexCarriesManyCallsAtOnce(t *testing.T) {
	const callers, calls = 40, 25
	forEachTransport(t, func(t *testing.T, kind transportKind) {
		s := startKitex(t, "tcp", kind)
		c, d := newKitexClient(t, s.addr, kind)
		var wg sync.WaitGroup
		for caller := range callers {
			wg.Go(func() {
				for i := range calls {
					if err := echo(c, text(caller+i, 1+i*400)); err != nil {
						t.Errorf("caller %d, call %d: %v", caller, i, err)
						return
					}
				}
			})
		}
		wg.Wait()
		if kind.name == mux.name {
			require.LessOrEqual(t, d.dials.Load(), int32(muxConnections))
		}
	})
}

// Behaviour 5.7: a panic of a handler fails its own call and nothing else.
func TestKitexSurvivesAPanicInAHandler(t *testing.T) {
	forEachTransport(t, func(t *testing.T, kind transportKind) {
		s := startKitex(t, "tcp", kind)
		c, _ := newKitexClient(t, s.addr, kind)
		for range 3 {
			_, err := call(c, "Boom", "x")
			require.ErrorContains(t, err, "boom")
			require.NoError(t, echo(c, "still there"))
		}
	})
}

// Behaviour 2.2, 3.7: a read timeout differs from other errors, and the late response harms no later call.
func TestKitexCallTimesOut(t *testing.T) {
	forEachTransport(t, func(t *testing.T, kind transportKind) {
		s := startKitex(t, "tcp", kind)
		c, _ := newKitexClient(t, s.addr, kind, client.WithRPCTimeout(50*time.Millisecond))
		patient, _ := newKitexClient(t, s.addr, kind)
		_, err := call(c, "Hold", "late")
		require.ErrorIs(t, err, kerrors.ErrRPCTimeout)
		await(t, s.held, "the call")
		require.NoError(t, echo(patient, "another client"))
		close(s.release)
		for range 5 {
			require.NoError(t, echo(patient, "after the late response"))
		}
		require.NoError(t, retry(3, func() error { return echo(c, "same client") }))
	})
}

// retry calls f until it succeeds, at most n times: a call with a short timeout may fail on a busy machine.
func retry(n int, f func() error) (err error) {
	for range n {
		if err = f(); err == nil {
			return nil
		}
	}
	return err
}
