package netpoll

import (
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every move between phases is tried from every phase: the legal ones happen, the others change nothing.
func TestLifeMovesOnlyAlongTheTable(t *testing.T) {
	moves := map[phase]func(l *lifeWord){
		phaseOpen:     func(l *lifeWord) { l.open() },
		phasePeerDone: func(l *lifeWord) { l.peerClosed(0, true, false) },
		phaseClosing:  func(l *lifeWord) { l.close(causeUser) },
		phaseReleased: func(l *lifeWord) {
			if l.load().phase() == phaseClosing {
				l.leave(0)
			}
		},
		phaseClosed: func(l *lifeWord) { l.endReading() },
	}
	for from := phaseOpening; from <= phaseClosed; from++ {
		for to, move := range moves {
			var l lifeWord
			l.begin(true)
			l.v.Store(uint64(l.load().with(from)))
			if from >= phaseReleased {
				l.v.Store(uint64(from))
			}
			move(&l)
			want := from
			if from.mayBecome(to) {
				want = to
			}
			require.Equal(t, want, l.load().phase(), "from %v by the move to %v", from, to)
		}
	}
}

func TestLifeLastToLeaveClosesOnce(t *testing.T) {
	var l lifeWord
	l.begin(true)
	require.True(t, l.open())
	require.Equal(t, entered, l.read())
	require.Equal(t, entered, l.use(bitFlushing))
	require.True(t, closes(&l, causeUser))
	require.False(t, closes(&l, causePeer), "the second close must lose")
	require.False(t, l.leave(0), "two are still inside")
	require.False(t, l.leave(bitReading))
	require.Equal(t, phaseClosing, l.load().phase())
	require.True(t, l.leave(bitFlushing))
	require.Equal(t, phaseReleased, l.load().phase())
	require.Equal(t, causeUser, l.load().cause())
}

func TestLifeSidesAreExclusive(t *testing.T) {
	for _, side := range []lifeBits{bitReading, bitProducing, bitFlushing, bitProducing | bitFlushing} {
		var l lifeWord
		l.begin(true)
		l.open()
		require.Equal(t, entered, l.enter(side, phaseOpen))
		require.Equal(t, entryBusy, l.enter(side, phaseOpen))
		l.leave(side)
		require.Equal(t, entered, l.enter(side, phaseOpen))
	}
}

func TestLifeEnterRefusesPastItsPhase(t *testing.T) {
	var l lifeWord
	l.begin(true)
	l.open()
	l.enter(0, phaseOpen)
	l.close(causeUser)
	require.Equal(t, entryShut, l.setUp())
	require.Equal(t, entryShut, l.use(bitProducing))
	require.Equal(t, entered, l.read(), "what is buffered can be read while somebody is inside")
	l.leave(bitReading)
	require.False(t, l.endReading(), "it is not released")
	l.leave(0)
	require.True(t, l.leave(0))
	require.Equal(t, entered, l.read(), "input can be read until it is dropped")
	require.False(t, l.endReading(), "and is not dropped under a reader")
	require.False(t, l.leave(bitReading), "a connection is released once")
	require.True(t, l.endReading())
	require.Equal(t, entryShut, l.read())
	require.Equal(t, phaseClosed, l.load().phase())
}

func TestLifeFirstErrnoStays(t *testing.T) {
	var l lifeWord
	l.begin(true)
	l.open()
	l.peerClosed(syscall.ECONNRESET, false, false)
	l.peerClosed(syscall.EPIPE, true, false)
	require.Equal(t, syscall.ECONNRESET, l.load().errno())
	require.True(t, l.load().has(bitEnded))
}

func TestLifeNotificationKeepsTheTaskGoing(t *testing.T) {
	var l lifeWord
	l.begin(true)
	l.open()
	require.True(t, l.startTask())
	require.False(t, l.startTask(), "one task at a time")
	require.False(t, l.endTask(), "the second start was a kick")
	l.clearNotified()
	require.True(t, l.endTask())
	l.leave(0)
	require.Equal(t, 1, l.load().refs())
	l.close(causeUser)
	require.False(t, l.startTask(), "nothing starts in a closing connection")
}

func TestLifeDisconnectIsClaimedOnceAndAfterConnect(t *testing.T) {
	var l lifeWord
	l.begin(false)
	l.open()
	require.False(t, l.peerClosed(0, true, true), "OnConnect has not returned")
	require.False(t, l.claimDisconnect(), "OnConnect has not returned")
	l.set(bitConnected)
	require.True(t, l.claimDisconnect())
	require.False(t, l.claimDisconnect())
	require.False(t, l.clearConnected(), "no OnConnect after OnDisconnect")
}

// Many parties enter and leave while one closes: exactly one of them is the last.
func TestLifeReleaseUnderContention(t *testing.T) {
	for range 200 {
		var l lifeWord
		l.begin(true)
		l.open()
		var releases sync.Map
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				for range 50 {
					if l.use(0) == entered && l.leave(0) {
						_, twice := releases.LoadOrStore("x", g)
						require.False(t, twice)
					}
				}
				if g == 0 && closes(&l, causeUser) && l.leave(0) {
					_, twice := releases.LoadOrStore("x", g)
					require.False(t, twice)
				}
			})
		}
		wg.Wait()
		_, released := releases.Load("x")
		require.True(t, released)
		require.Equal(t, phaseReleased, l.load().phase())
		require.Zero(t, l.load().refs())
	}
}

func TestLifeInconsistencyPanics(t *testing.T) {
	var l lifeWord
	require.Panics(t, func() { l.leave(0) })
	l.begin(true)
	l.v.Store(uint64(l.load() + (maxRefs-2)*oneRef))
	require.Equal(t, entered, l.use(0))
	require.Panics(t, func() { l.use(0) }, "one more could become none")
	require.Equal(t, maxRefs, l.load().refs())
}

func TestLifeNamesItself(t *testing.T) {
	var l lifeWord
	l.begin(true)
	l.open()
	l.enter(bitReading, phaseOpen)
	l.peerClosed(syscall.ECONNRESET, true, false)
	require.Equal(t, "peer done refs=2 errno=connection reset by peer peerClosed ended reading connected", l.load().String())
	require.Equal(t, "phase(7)", phase(7).String())
	require.Equal(t, "cause(8)", cause(8).String())
}

func closes(l *lifeWord, why cause) bool {
	_, ok := l.close(why)
	return ok
}
