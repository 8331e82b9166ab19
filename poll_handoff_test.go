//go:build linux && !netconn

package netpoll

// The word of a worker, against every order in which three parties can take their steps: the goroutine that is the
// worker, one that takes all from it, and a follower that takes the leadership alone.

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// handOffModel is what ought to be true. The owner is one of two parties; the other tries to take its tasks, and is the
// owner when it has. Everybody takes in two steps, between which anything may happen.
type handOffModel struct {
	word    uint64
	owner   int
	parties [2]party
	leads   bool  // the leadership is the owner's, or to be had from its word
	resting bool  // the owner has withdrawn its tasks, and not tried to take the leadership back yet
	other   taker // the follower
	batches int   // still to begin
}

// party is one of those that can be the worker.
type party struct {
	inBatch bool // between offer and a withdraw
	lost    bool // the tasks were taken during this batch
	mark    uint64
	running int // task
	tasks   int
	taker
}

// taker is one that takes something.
type taker struct {
	looked bool // has done the first step
	seen   uint64
}

// on returns a word with the value v, to compute on.
func on(v uint64) *handOff {
	h := new(handOff)
	h.v.Store(v)
	return h
}

// explorer goes to every state that can be reached, once.
type explorer struct {
	t    *testing.T
	seen map[handOffModel]bool
}

func (e *explorer) reach(m handOffModel, trace string) {
	if e.seen[m] {
		return
	}
	e.seen[m] = true
	for i := range m.parties {
		e.steps(m, i, trace)
	}
	e.follow(m, trace)
}

func (e *explorer) steps(m handOffModel, i int, trace string) {
	p := &m.parties[i]
	switch {
	case p.inBatch:
		if p.running+1 < p.tasks {
			e.next(m, i, trace+"n")
		}
		e.withdraw(m, i, trace+"w") // also before the last task, when time is up
		e.withdrawTasks(m, i, trace+"r")
	case i == m.owner && m.resting:
		got := on(m.word)
		if got.takeLead() != m.leads {
			e.t.Fatalf("%s: the owner's takeLead is wrong, leads: %v", trace, m.leads)
		}
		m.word, m.resting = got.v.Load(), false
		e.reach(m, trace+"b")
	case i == m.owner && !m.leads:
		m.leads = true // the follower has let it be taken, from its own word
		e.reach(m, trace+"g")
	case i == m.owner && m.batches > 0:
		for n := 1; n <= 3; n++ {
			begun, h := m, on(m.word)
			begun.parties[i] = party{inBatch: true, mark: h.offer(), tasks: n}
			begun.word = h.v.Load()
			begun.batches--
			e.reach(begun, trace+"o")
		}
	case i != m.owner && !p.looked:
		p.looked, p.seen = true, m.word
		e.reach(m, trace+"l")
	case i != m.owner:
		e.takeAll(m, i, trace+"t")
	}
}

func (e *explorer) next(m handOffModel, i int, trace string) {
	p, h := &m.parties[i], on(m.word)
	mark, ok := h.next(p.mark)
	if ok == p.lost {
		e.t.Fatalf("%s: next says %v, taken: %v", trace, ok, p.lost)
	}
	m.word = h.v.Load()
	if ok {
		p.mark, p.running = mark, p.running+1
	} else {
		*p = party{}
	}
	e.reach(m, trace)
}

func (e *explorer) withdraw(m handOffModel, i int, trace string) {
	p, h := &m.parties[i], on(m.word)
	leads, ok := h.withdraw(p.mark)
	if ok == p.lost || ok && leads != m.leads {
		e.t.Fatalf("%s: withdraw says %v, %v; taken: %v, leads: %v", trace, leads, ok, p.lost, m.leads)
	}
	m.word, *p = h.v.Load(), party{}
	e.reach(m, trace)
}

func (e *explorer) withdrawTasks(m handOffModel, i int, trace string) {
	p, h := &m.parties[i], on(m.word)
	ok := h.withdrawTasks(p.mark)
	if ok == p.lost {
		e.t.Fatalf("%s: withdrawTasks says %v, taken: %v", trace, ok, p.lost)
	}
	m.word, *p, m.resting = h.v.Load(), party{}, m.resting || ok
	e.reach(m, trace)
}

// takeAll is the second step of it: what it computes from the word as it was when it looked takes effect if the word
// still is the same.
func (e *explorer) takeAll(m handOffModel, i int, trace string) {
	p := &m.parties[i]
	seen := p.seen
	p.taker = taker{}
	h, loser := on(seen), &m.parties[m.owner]
	running, leads, ok := h.takeAll()
	switch {
	case m.word != seen:
	case !ok && loser.inBatch:
		e.t.Fatalf("%s: tasks that may be taken were not", trace)
	case ok && (!loser.inBatch || loser.lost || loser.running != running || leads != m.leads):
		e.t.Fatalf("%s: taken at task %d, leads %v, of %+v, leads %v", trace, running, leads, *loser, m.leads)
	case ok:
		loser.lost = true
		m.word, m.owner = h.v.Load(), i
	}
	e.reach(m, trace)
}

// follow lets the follower take a step.
func (e *explorer) follow(m handOffModel, trace string) {
	if !m.other.looked {
		m.other = taker{true, m.word}
		e.reach(m, trace+"f")
		return
	}
	seen := m.other.seen
	m.other = taker{}
	if h := on(seen); h.takeLead() && m.word == seen {
		if !m.leads || !m.resting && !m.parties[m.owner].inBatch {
			e.t.Fatalf("%s: a follower took the leadership, which was not to be had", trace)
		}
		m.word, m.leads = h.v.Load(), false
	}
	e.reach(m, trace+"F")
}

func TestLeadershipAndTasksHaveOneHolderInEveryOrderOfSteps(t *testing.T) {
	for batches := 1; batches <= 3; batches++ {
		e := &explorer{t, make(map[handOffModel]bool)}
		e.reach(handOffModel{leads: true, batches: batches}, "")
		t.Logf("%d batches: %d states", batches, len(e.seen))
		require.Greater(t, len(e.seen), 100*batches)
	}
}

// A word that lets something be taken is never used twice, so a goroutine that looked long ago cannot be mistaken.
func TestHandOffNeverRepeatsAWordThatOffers(t *testing.T) {
	var h handOff
	seen := make(map[uint64]bool)
	see := func() {
		v := h.v.Load()
		require.False(t, seen[v], "%#x", v)
		seen[v] = true
	}
	for i := range 2000 {
		mark := h.offer()
		see()
		for range i % 5 {
			var ok bool
			mark, ok = h.next(mark)
			require.True(t, ok)
			see()
		}
		switch i % 4 {
		case 0:
			running, leads, ok := h.takeAll()
			require.True(t, ok && leads)
			require.Equal(t, i%5, running)
			_, ok = h.withdraw(mark)
			require.False(t, ok)
			require.False(t, h.withdrawTasks(mark))
			_, ok = h.next(mark)
			require.False(t, ok)
		case 1:
			require.True(t, h.withdrawTasks(mark))
			see()
			require.True(t, h.takeLead())
		case 2:
			require.True(t, h.takeLead())
			leads, ok := h.withdraw(mark)
			require.True(t, ok && !leads)
		default:
			leads, ok := h.withdraw(mark)
			require.True(t, ok && leads)
		}
		_, _, ok := h.takeAll()
		require.False(t, ok || h.takeLead(), "nothing may be taken between batches")
	}
}
