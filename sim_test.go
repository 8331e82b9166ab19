//go:build linux && !netconn

package netpoll

// The tests that simulate: see sim_program_test.go for what that is and for the commands of its long form.

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	simLives  = 64
	simLength = 900
	// defaultSimSteps is the part of the simulation that every run of the tests does.
	defaultSimSteps = 100_000
)

func (s *simTotals) add(o simTotals) {
	s.worlds += o.worlds
	s.lives += o.lives
	s.steps += o.steps
	s.bytes += o.bytes
	s.orderlyIn += o.orderlyIn
	s.orderlyOut += o.orderlyOut
	s.polls += o.polls
	s.panics += o.panics
	s.exits += o.exits
	s.injected += o.injected
	s.sessions += o.sessions
	s.shared += o.shared
}

// Users, handlers and peers do what they like; each connection keeps every promise, and nothing is left.
func TestSimulatedConnectionsKeepTheirPromises(t *testing.T) {
	dir := t.TempDir()
	if simRepeated(t, func(seed uint64) { simulate(t, dir, seed, simLives, simLength) }) {
		return
	}
	steps, limit, seed := simRun(t)
	start := time.Now()
	var sum simTotals
	for ; limit == 0 && sum.steps < steps || time.Since(start) < limit; seed++ {
		sum.add(simulate(t, dir, seed, simLives, simLength))
		if limit > 0 && sum.worlds%1000 == 0 {
			t.Logf("%v: %+v%s", time.Since(start).Round(time.Second), sum, simFaultReport())
		}
	}
	took := time.Since(start)
	t.Logf("%+v in %v: %.0f steps/s%s", sum, took.Round(time.Millisecond), float64(sum.steps)/took.Seconds(),
		simFaultReport())
	require.NotZero(t, sum.orderlyIn, "connections whose input had to be complete")
	require.NotZero(t, sum.orderlyOut, "connections whose output had to be complete")
	require.NotZero(t, sum.panics)
	require.NotZero(t, sum.exits)
	require.NotZero(t, sum.polls)
	require.NotZero(t, sum.sessions, "sessions of TLS that ended in order")
	require.True(t, sum.shared > 0 || !simHasShm, "connections over shared memory that ended in order")
}

// simRepeated repeats the world of the seed that is asked for, if one is.
func simRepeated(t *testing.T, world func(seed uint64)) bool {
	s := os.Getenv("NETPOLL_SIM_SEED")
	if s == "" {
		return false
	}
	seed, err := strconv.ParseUint(s, 10, 64)
	require.NoError(t, err)
	for range 50 {
		world(seed)
	}
	return true
}

// simRun returns how many steps a run has, or, unless limit is 0, how long it takes; and its first seed.
func simRun(t *testing.T) (steps int64, limit time.Duration, seed uint64) {
	steps, err := strconv.ParseInt(simVariable("NETPOLL_SIM_STEPS", strconv.Itoa(defaultSimSteps)), 10, 64)
	require.NoError(t, err)
	limit, err = time.ParseDuration(simVariable("NETPOLL_SIM_TIME", "0s"))
	require.NoError(t, err)
	seed = rand.Uint64() >> 1
	t.Logf("first NETPOLL_SIM_SEED=%d", seed)
	return steps, limit, seed
}

func simVariable(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}
