package netpoll

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// countingDoor counts how often it was told to look at its acceptor's state.
type countingDoor struct{ follows int }

func (d *countingDoor) open() error { return nil }
func (d *countingDoor) follow()     { d.follows++ }
func (d *countingDoor) close()      {}

// Behaviour 6.8: for want of descriptors an acceptor stops looking at its listener, which stays readable all the while,
// waits longer from one time to the next, reports it once, and goes on when the time has passed.
func TestAcceptorWithoutDescriptorsLooksAway(t *testing.T) {
	s := newServer(newOptions(nil, nil))
	door := new(countingDoor)
	a := &acceptor{srv: s, door: door}
	require.True(t, a.stallForAWhile(), "the first time is reported")
	require.True(t, a.stalled.Load(), "it must not be asked again at once")
	require.Equal(t, 1, door.follows)
	require.False(t, s.takePlace(a), "nor accept")
	first := a.backOff
	require.Equal(t, minBackOff, first)

	a.tryAgain()
	require.False(t, a.stalled.Load(), "it goes on")
	require.Equal(t, 2, door.follows)
	require.False(t, a.stallForAWhile(), "the second time is not reported")
	require.Equal(t, 2*first, a.backOff)
	a.tryAgain() // which stops the timer, too
	require.Empty(t, s.stalled)
}
