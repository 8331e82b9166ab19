package netpoll

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// countingSource counts the calls of updateInterest.
type countingSource struct{ updates int }

func (d *countingSource) open() error     { return nil }
func (d *countingSource) updateInterest() { d.updates++ }
func (d *countingSource) close()          {}

// Behaviour 6.8: without descriptors an acceptor stops watching its listener, which stays readable all the while, waits
// longer from one time to the next, reports it once, and goes on when the time has passed.
func TestAcceptorWithoutDescriptorsDropsItsInterest(t *testing.T) {
	synctest.Test(t, withoutDescriptors) // no time passes but where the test lets it
}

func withoutDescriptors(t *testing.T) {
	s := newServer(newOptions(nil, nil))
	source := new(countingSource)
	a := &acceptor{srv: s, source: source}
	first, report := a.pauseForAWhile()
	require.True(t, report, "the first time is reported")
	require.True(t, a.paused.Load(), "it must not be asked again at once")
	require.Equal(t, 1, source.updates)
	require.False(t, a.acquire(), "nor accept")
	require.Equal(t, minBackOff, first)

	a.tryAgain()
	require.False(t, a.paused.Load(), "it goes on")
	require.Equal(t, 2, source.updates)
	second, report := a.pauseForAWhile()
	require.False(t, report, "the second time is not reported")
	require.Equal(t, 2*first, second)
	a.tryAgain() // which stops the timer, too
	require.Empty(t, s.backingOff)
}
