//go:build linux && !netconn

package netpoll

// What a poller remembers of its handlers.

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll/internal/interleave/clock"
	"github.com/cloudwego/netpoll/internal/testkit"
)

func TestInlinePolicyForgivesASlowBatchNowAndThen(t *testing.T) {
	var p inlinePolicy
	for i := range 1000 {
		p.judge(int64(i), i%(slowScore+2) == 0)
		require.True(t, p.allowed())
	}
}

func TestInlinePolicySendsSlowHandlersToTheRunner(t *testing.T) {
	var p inlinePolicy
	batches := 0
	for ; p.slowUntil.Load() == 0; batches++ {
		p.judge(clock.Now(), true)
	}
	require.Equal(t, slowEnough/slowScore, batches)
	require.Equal(t, minPenalty, p.penalty)
	for !p.allowed() {
		time.Sleep(time.Millisecond)
	}
	p.judge(clock.Now(), true)
	require.Equal(t, 2*minPenalty, p.penalty, "once more soon, and it lasts longer")
	for range 16 {
		p.judge(clock.Now(), true)
	}
	require.Equal(t, 2*minPenalty, p.penalty, "what several workers report at the same time is one incident")
	for range 20 {
		p.penalize(clock.Now())
	}
	require.Equal(t, maxPenalty, p.penalty)
	p.penalize(p.slowUntil.Load() + calmPenalty*int64(p.penalty) + 1)
	require.Equal(t, minPenalty, p.penalty, "after a calm time it begins anew")
}

// batchOf notes a batch of n handlers that took so long, after which f is done.
func batchOf(p *inlinePolicy, n int, took time.Duration, f func()) {
	timer := p.begin()
	f()
	p.done(&timer, clock.Now(), int64(took), n)
}

// Handlers that work are not slow, however long they take; handlers that wait are.
func TestInlinePolicyTellsWorkingFromWaiting(t *testing.T) {
	work := func() {
		for end := time.Now().Add(200 * time.Microsecond); time.Now().Before(end); {
		}
	}
	for name, tc := range map[string]struct {
		handler func()
		slow    bool
	}{
		"works": {work, false},
		"waits": {func() { time.Sleep(time.Millisecond) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			var p inlinePolicy
			for range 2 * slowEnough {
				batchOf(&p, 1, time.Millisecond, tc.handler)
			}
			require.Equal(t, tc.slow, p.slowUntil.Load() != 0)
		})
	}
}

// A handler that the watchdog finds is slow if it waits, and if nothing is known of it. If it works it is not.
func TestInlinePolicyJudgesAHandlerThatRunsForLong(t *testing.T) {
	run := func(suspected bool, handler func(stop <-chan struct{})) (score int) {
		var p inlinePolicy
		p.score = slowScore
		p.suspected.Store(suspected)
		begun, stop, stopped := make(chan batchTimer), make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			timer := p.begin()
			defer timer.stop()
			begun <- timer
			handler(stop)
		}()
		timer := <-begun
		p.late(&timer, clock.Now())
		close(stop)
		<-stopped
		return p.score
	}
	waits := func(stop <-chan struct{}) { <-stop }
	works := func(stop <-chan struct{}) {
		for stopped := false; !stopped; {
			select {
			case <-stop:
				stopped = true
			default:
			}
		}
	}
	testkit.Eventually(t, func() bool { return run(true, waits) == 2*slowScore }, "a handler that waits is slow")
	testkit.Eventually(t, func() bool { return run(true, works) == slowScore-1 }, "a handler that works is not")
	require.Equal(t, 2*slowScore, run(false, works), "nothing is known")
}

func TestShareOfAWorkerIsWhatItServesInItsTurn(t *testing.T) {
	for _, tt := range []struct {
		each         time.Duration
		alone, other int
	}{
		{0, maxEvents, 50},
		{5 * time.Microsecond, maxEvents, 22},
		{6 * time.Microsecond, 40, 20},
		{16 * time.Microsecond, 20, 10},
		{46 * time.Microsecond, 8, 4},
		{96 * time.Microsecond, 4, 4}, // fewer cost more each
		{196 * time.Microsecond, 2, 2},
		{time.Second, 1, 1},
	} {
		var p inlinePolicy
		p.each.Store(int64(tt.each))
		require.Equal(t, tt.alone, p.share(maxEvents, true), "%v, alone", tt.each)
		require.Equal(t, tt.other, p.share(maxEvents, false), "%v", tt.each)
	}
}

func TestAverageFollowsWhatHandlersTake(t *testing.T) {
	var p inlinePolicy
	for range 100 {
		batchOf(&p, 8, 8*20*time.Microsecond, func() {})
	}
	require.InDelta(t, 20_000, p.each.Load(), 1000)
	p.average(int64(time.Second), 1)
	require.Less(t, p.each.Load(), int64(30_000), "one that took far longer says little")
	for range 200 {
		p.average(8000, 8)
	}
	require.InDelta(t, 1000, p.each.Load(), 200)
}
