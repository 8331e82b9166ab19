//go:build !netconn && !kqsim

package netpoll

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll/internal/interleave/clock"
)

func TestPollingStopsWhereItFindsNothing(t *testing.T) {
	p := &shmPolling{limit: int64(time.Millisecond)}
	for range vainPolls {
		require.True(t, p.due())
		p.note(true, false)
	}
	polled := 0
	for range 10 * pollSkips {
		if p.due() {
			polled++
			p.note(true, false)
		}
	}
	require.Equal(t, 10, polled, "it tries again from time to time")
	p.note(true, true)
	require.True(t, p.due(), "one has found something")

	vain := func() {
		for range vainPolls {
			p.note(true, false)
		}
		require.False(t, p.due())
	}
	vain()
	p.note(false, false)
	p.asleep.Store(clock.Now())
	p.limit = int64(time.Hour) // however busy the machine is
	p.arrived()
	require.True(t, p.due(), "a wait that was left to the poller was short")
	vain()
	p.limit = 1
	p.asleep.Store(clock.Now() - int64(time.Second))
	p.arrived()
	require.False(t, p.due(), "a long one says nothing")
	p.note(true, true)
	p.stopped.Store(true)
	require.False(t, p.due(), "the connection is closing")
	require.False(t, new(shmPolling).due(), "nobody has asked for it")
}
