package netpoll

// The states of a packetServer: each move, from each state, and what the source is asked for then.

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

// countingPackets is a packetSource that counts.
type countingPackets struct{ updates, closes int }

func (c *countingPackets) open() error     { return nil }
func (c *countingPackets) updateInterest() { c.updates++ }
func (c *countingPackets) close()          { c.closes++ }

func (s *packetServer) isDone() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

func TestPacketServerMovesAsItsTableSays(t *testing.T) {
	errOver := errors.New("over")
	input := func(want bool) func(t *testing.T, s *packetServer) {
		return func(t *testing.T, s *packetServer) { require.Equal(t, want, s.begin()) }
	}
	finish := func(t *testing.T, s *packetServer) { s.finish() }
	end := func(_ *testing.T, s *packetServer) { s.end(errOver); s.end(nil) }
	for _, c := range []struct {
		name    string
		steps   []func(t *testing.T, s *packetServer)
		state   packetState
		updates int
		done    bool
	}{
		{"nothing", nil, packetsIdle, 0, false},
		{"input", []func(*testing.T, *packetServer){input(true)}, packetsReceiving, 0, false},
		{"input, finish", []func(*testing.T, *packetServer){input(true), finish}, packetsIdle, 0, false},
		{"input twice", []func(*testing.T, *packetServer){input(true), input(false)}, packetsUnwatched, 1, false},
		{"input three times", []func(*testing.T, *packetServer){input(true), input(false), input(false)}, packetsUnwatched, 1, false},
		{"input twice, finish", []func(*testing.T, *packetServer){input(true), input(false), finish}, packetsIdle, 2, false},
		{"end", []func(*testing.T, *packetServer){end}, packetsIdle, 0, true},
		{"end, input", []func(*testing.T, *packetServer){end, input(false)}, packetsIdle, 0, true},
		{"input, end", []func(*testing.T, *packetServer){input(true), end}, packetsReceiving, 0, false},
		{"input, end, input", []func(*testing.T, *packetServer){input(true), end, input(false)}, packetsReceiving, 0, false},
		{"input, end, finish", []func(*testing.T, *packetServer){input(true), end, finish}, packetsIdle, 0, true},
		{"input twice, end, finish", []func(*testing.T, *packetServer){input(true), input(false), end, finish}, packetsIdle, 2, true},
		{"input, finish, end", []func(*testing.T, *packetServer){input(true), finish, end}, packetsIdle, 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			source := new(countingPackets)
			ended := 0
			s := &packetServer{source: source, done: make(chan struct{}), onEnd: func() { ended++ }}
			for _, step := range c.steps {
				step(t, s)
			}
			require.Equal(t, c.state.String(), s.state.String())
			require.Equal(t, c.updates, source.updates)
			require.Equal(t, c.done, s.isDone())
			if s.hasEnded() {
				require.Equal(t, errOver, s.err, "the first reason counts")
				require.Equal(t, 1, source.closes)
				require.Equal(t, 1, ended)
			}
		})
	}
}
