//go:build linux && !netconn

package netpoll

// The word of the leadership, against every order in which two parties can take their steps, and the memory of how long
// handlers take.

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll/internal/interleave/clock"
)

// leaderModel is the expected state. One party, the captain, leads; it goes through batches of tasks, and the other
// tries to take the leadership from it, in two steps between which anything may happen. When it succeeds the roles
// change.
type leaderModel struct {
	word    uint64
	captain int
	parties [2]party
	batches int // still to begin
	trace   []byte
}

// party is one party.
type party struct {
	inBatch bool // between free and reclaim
	lost    bool // the leadership was taken during this batch
	mark    uint64
	running int // task
	tasks   int
	looked  bool // has done the first step of take
	seen    uint64
}

// on returns a leadership whose word is v, to compute on.
func on(v uint64) *leadership {
	h := new(leadership)
	h.v.Store(v)
	return h
}

// with returns m with a change and a mark in its trace.
func (m leaderModel) with(mark byte, change func(m *leaderModel)) leaderModel {
	m.trace = append(append([]byte(nil), m.trace...), mark)
	change(&m)
	return m
}

func (m leaderModel) steps(t *testing.T, i int) (next []leaderModel) {
	p := m.parties[i]
	switch {
	case p.inBatch:
		if p.running+1 < p.tasks {
			next = append(next, m.goOn(t, i))
		}
		return append(next, m.finish(t, i)) // also before the last task, when time is up
	case i == m.captain:
		for n := 1; n <= 3 && m.batches > 0; n++ {
			next = append(next, m.with('f', func(m *leaderModel) {
				h := on(m.word)
				mark := h.free()
				m.word = h.v.Load()
				m.parties[i] = party{inBatch: true, mark: mark, tasks: n}
				m.batches--
			}))
		}
		return next
	case !p.looked:
		return append(next, m.with('l', func(m *leaderModel) {
			m.parties[i].looked, m.parties[i].seen = true, m.word
		}))
	}
	return append(next, m.take(t, i))
}

// goOn is next.
func (m leaderModel) goOn(t *testing.T, i int) leaderModel {
	return m.with('n', func(m *leaderModel) {
		p := &m.parties[i]
		h := on(m.word)
		mark, ok := h.next(p.mark)
		m.word = h.v.Load()
		if ok == p.lost {
			t.Fatalf("%s: next says %v, taken: %v", m.trace, ok, p.lost)
		}
		if !ok {
			*p = party{}
			return
		}
		p.mark, p.running = mark, p.running+1
	})
}

// finish is reclaim.
func (m leaderModel) finish(t *testing.T, i int) leaderModel {
	return m.with('r', func(m *leaderModel) {
		p := &m.parties[i]
		h := on(m.word)
		ok := h.reclaim(p.mark)
		m.word = h.v.Load()
		if ok == p.lost {
			t.Fatalf("%s: reclaim says %v, taken: %v", m.trace, ok, p.lost)
		}
		*p = party{}
	})
}

// take is the second step of take: the new value, computed from the word as it was in the first step, is stored if the
// word has not changed.
func (m leaderModel) take(t *testing.T, i int) leaderModel {
	return m.with('t', func(m *leaderModel) {
		seen := m.parties[i].seen
		m.parties[i].looked = false
		h := on(seen)
		running, ok := h.take()
		if !ok || m.word != seen {
			if m.word == seen && m.parties[m.captain].inBatch {
				t.Fatalf("%s: a free leadership was not taken", m.trace)
			}
			return
		}
		m.word = h.v.Load()
		loser := &m.parties[m.captain]
		if !loser.inBatch || loser.lost || loser.running != running {
			t.Fatalf("%s: taken at task %d of %+v", m.trace, running, *loser)
		}
		loser.lost = true
		m.captain = i
	})
}

func TestLeadershipHasOneHolderInEveryOrderOfSteps(t *testing.T) {
	for batches := 1; batches <= 4; batches++ {
		seen := make(map[leaderState]bool)
		m := leaderModel{batches: batches}
		states := m.reach(t, seen)
		t.Logf("%d batches: %d states", batches, states)
		require.Greater(t, states, 10*batches)
	}
}

// leaderState is a model without its trace.
type leaderState struct {
	word    uint64
	captain int
	parties [2]party
	batches int
}

// reach goes to every state that can be reached, once, and returns their number.
func (m leaderModel) reach(t *testing.T, seen map[leaderState]bool) int {
	key := leaderState{m.word, m.captain, m.parties, m.batches}
	if seen[key] {
		return 0
	}
	seen[key] = true
	n := 1
	for i := range m.parties {
		for _, next := range m.steps(t, i) {
			n += next.reach(t, seen)
		}
	}
	return n
}

// A word that says that the leadership is free is never used twice, so that a goroutine that looked long ago cannot
// mistake one batch for another.
func TestLeadershipNeverRepeatsAFreeWord(t *testing.T) {
	var h leadership
	seen := make(map[uint64]bool)
	see := func() {
		v := h.v.Load()
		require.False(t, seen[v], "%#x", v)
		seen[v] = true
	}
	for i := range 2000 {
		mark := h.free()
		see()
		for range i % 5 {
			var ok bool
			mark, ok = h.next(mark)
			require.True(t, ok)
			see()
		}
		if i%3 == 0 {
			running, ok := h.take()
			require.True(t, ok)
			require.Equal(t, i%5, running)
			require.False(t, h.reclaim(mark))
			_, ok = h.next(mark)
			require.False(t, ok)
		} else {
			require.True(t, h.reclaim(mark))
		}
		_, ok := h.take()
		require.False(t, ok, "the leadership is not free between batches")
	}
}

func TestInlinePolicyForgivesASlowBatchNowAndThen(t *testing.T) {
	var p inlinePolicy
	for i := range 1000 {
		p.batchDone(int64(i), i%(slowScore+2) == 0)
		require.True(t, p.allowed())
	}
}

func TestInlinePolicySendsSlowHandlersToTheRunner(t *testing.T) {
	var p inlinePolicy
	batches := 0
	for ; p.slowUntil == 0; batches++ {
		p.batchDone(clock.Now(), true)
	}
	require.Equal(t, slowEnough/slowScore, batches)
	require.Equal(t, minPenalty, p.penalty)
	for !p.allowed() {
		time.Sleep(time.Millisecond)
	}
	p.batchDone(clock.Now(), true)
	require.Equal(t, 2*minPenalty, p.penalty, "once more soon, and it lasts longer")
	for range 20 {
		p.slow(clock.Now())
	}
	require.Equal(t, maxPenalty, p.penalty)
	p.slow(p.slowUntil + calmPenalty*int64(p.penalty) + 1)
	require.Equal(t, minPenalty, p.penalty, "after a calm time it begins anew")
}

func TestBudgetOfABatchDependsOnHowQuickItsHandlersAre(t *testing.T) {
	for _, tt := range []struct {
		took time.Duration
		done int
		want bool
	}{
		{40 * time.Microsecond, 1, false}, // of one slow handler, and still within the budget
		{60 * time.Microsecond, 1, true},
		{60 * time.Microsecond, 5, true},
		{60 * time.Microsecond, 20, false}, // quick ones
		{390 * time.Microsecond, 100, false},
		{410 * time.Microsecond, 100, true}, // enough, however quick they are
	} {
		require.Equal(t, tt.want, budgetSpent(int64(tt.took), tt.done), "%d handlers in %v", tt.done, tt.took)
	}
}
