package netpoll

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func newInputWindow(size, limit int) *inputWindow {
	w := new(inputWindow)
	w.init(size, limit)
	return w
}

func TestWindowSaysHowMuchToReceiveAtOnce(t *testing.T) {
	for name, test := range map[string]struct {
		limit, lowWater, quota, have int
		there                        int32
		rest                         bool
		want                         int
	}{
		"what it usually gets":                           {limit: 1 << 20, want: 4096},
		"without a limit":                                {limit: 0, have: 1 << 30, want: 4096},
		"no more than fits":                              {limit: 5000, have: 4000, want: 1000},
		"one byte when it is full":                       {limit: 5000, have: 5000, want: 1},
		"past the limit when the peer has hung up":       {limit: 5000, have: 5000, rest: true, want: 4096},
		"in one piece what a reader waits for":           {limit: 1 << 20, lowWater: 9000, quota: 9000, have: 1000, want: 8000},
		"for a reader, beyond the limit":                 {limit: 100, lowWater: 9000, quota: 9000, have: 50, want: 8950},
		"not all of it before so much of it has arrived": {limit: 1 << 20, lowWater: 1 << 30, quota: 1 << 30, want: eagerReceive},
		"all that is known to be there":                  {limit: 1 << 20, there: 500_000, want: 500_000},
		"no more of it than fits":                        {limit: 5000, have: 4000, there: 500_000, want: 1000},
		"as usual where little is there":                 {limit: 1 << 20, there: 10, want: 4096},
		"for a reader, more than is there":               {limit: 1 << 20, lowWater: 9000, quota: 9000, there: 5000, want: 9000},
		"as much again as has arrived":                   {lowWater: 1 << 30, quota: 1 << 30, have: 4 << 20, want: 4 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			w := newInputWindow(4096, test.limit)
			w.await(test.lowWater, test.quota)
			w.there = test.there
			require.Equal(t, test.want, w.next(test.have, test.rest))
		})
	}
}

func TestWindowFollowsTheSizeOfWhatArrives(t *testing.T) {
	w := newInputWindow(4096, 0)
	w.adapt(4096, false)
	require.Equal(t, 4096, w.size, "exactly that much arrived, and no more")
	for range 20 {
		w.adapt(w.size, true)
	}
	require.Equal(t, maxReceive, w.size)
	w.adapt(maxReceive/4, false)
	require.Equal(t, maxReceive, w.size, "a quarter is worth the room")
	for range 20 {
		w.adapt(1, false)
	}
	require.Equal(t, 4096, w.size, "never below what it began with")
}

func TestWindowIsFullAtTheLargestOfItsLimits(t *testing.T) {
	w := newInputWindow(4096, 1000)
	require.False(t, w.full(999, false))
	require.True(t, w.full(1000, false))
	require.False(t, w.full(1000, true), "the peer has hung up")
	w.await(2000, 3000)
	require.False(t, w.full(2999, false), "a reader's quota")
	require.True(t, w.full(3000, false))
	w.awaitNothing()
	require.True(t, w.full(1000, false))
	w.grant(1000)
	require.False(t, w.full(1999, false), "a handler has asked for more")
	require.True(t, w.full(2000, false))
	w.endGrant()
	require.True(t, w.full(1000, false))
}

func TestWindowStopsAndGoesOn(t *testing.T) {
	w := newInputWindow(4096, 1000)
	full := true
	ask := func() bool { return full }
	paused, first := w.pause(ask)
	require.True(t, paused && first)
	paused, first = w.pause(ask)
	require.True(t, paused && !first, "the second time is no news")
	require.False(t, w.mayResume(501, false), "less than half of the limit is free")
	require.True(t, w.mayResume(500, false))
	require.True(t, w.mayResume(501, true), "the peer has hung up")
	w.await(800, 800)
	require.True(t, w.mayResume(501, false), "a reader waits for more")
	require.True(t, w.resume())
	require.False(t, w.resume(), "somebody has resumed it")

	full = false // a reader made room between the two looks
	paused, first = w.pause(ask)
	require.False(t, paused || first)
	require.False(t, w.paused.Load())
}
