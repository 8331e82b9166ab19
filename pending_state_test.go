//go:build linux && !netconn

package netpoll

// The moves of the connection's word that have to do with output left to the poller, and output that the poller cannot
// send for another reason than that the connection is gone.

import (
	"errors"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const flusher = bitProducing | bitFlushing

// owingWord is an open connection whose Flush was left to the poller.
func owingWord(t *testing.T) *lifeWord {
	t.Helper()
	l := new(lifeWord)
	l.begin(true)
	l.open()
	require.Equal(t, entered, l.use(flusher))
	require.True(t, l.addPending(flusher))
	return l
}

func TestLifePendingTakesOverWhatTheFlushEnteredWith(t *testing.T) {
	l := owingWord(t)
	require.True(t, l.load().has(bitPending))
	require.False(t, l.load().has(flusher))
	require.Equal(t, 2, l.load().refs(), "that of the pending output and the connection's own")

	require.Equal(t, entered, l.use(flusher))
	require.True(t, l.addPending(flusher))
	require.Equal(t, 2, l.load().refs(), "more pending output takes no other reference")
}

func TestLifeNothingIsPendingWhereSendingMustTell(t *testing.T) {
	for _, tc := range []struct {
		name string
		end  func(l *lifeWord)
	}{
		{"peer done", func(l *lifeWord) { l.peerClosed(0, false, false) }},
		{"closing", func(l *lifeWord) { l.close(causeUser) }},
		{"write shut", func(l *lifeWord) { l.set(bitWriteShut) }},
		{"lost", func(l *lifeWord) { l.set(bitSendFailed) }},
	} {
		for _, owing := range []bool{false, true} {
			l := new(lifeWord)
			l.begin(true)
			l.open()
			if owing {
				l = owingWord(t)
			}
			require.Equal(t, entered, l.use(flusher))
			tc.end(l)
			before := l.load()
			require.False(t, l.addPending(flusher), tc.name)
			require.Equal(t, before, l.load(), "%s: a refusal changes nothing", tc.name)
		}
	}
}

func TestLifeOneAtATimeSends(t *testing.T) {
	var idle lifeWord
	idle.begin(true)
	idle.open()
	require.False(t, idle.enterSending(), "nothing is pending")

	l := owingWord(t)
	require.True(t, l.enterSending())
	require.Equal(t, 3, l.load().refs())
	require.False(t, l.enterSending(), "one sends already")
	require.Equal(t, entered, l.use(flusher), "a Flush comes in and waits for its turn")
	l.leave(bitSending)
	require.False(t, l.enterSending(), "the Flush is the one that sends")
	l.leave(flusher)
	require.True(t, l.enterSending())
	l.close(causeUser)
	l.leave(bitSending)
	require.True(t, l.enterSending(), "what is pending is sent after Close, too")
}

func TestLifePendingEndsOnce(t *testing.T) {
	l := owingWord(t)
	require.True(t, l.enterSending())
	_, ok := l.pendingDone(func() bool { return false })
	require.False(t, ok, "there is more")
	require.True(t, l.load().has(bitPending))
	l.set(bitWriteShut)
	old, ok := l.pendingDone(func() bool { return true })
	require.True(t, ok)
	require.True(t, old.has(bitWriteShut), "the one that ends it sees what was put off until then")
	require.Equal(t, 2, l.load().refs())
	_, ok = l.pendingDone(func() bool { t.Error("asked though nothing is pending"); return true })
	require.False(t, ok)
	require.False(t, l.leave(bitSending))
	require.Equal(t, 1, l.load().refs())
}

func TestLifePendingKeepsAClosingConnection(t *testing.T) {
	l := owingWord(t)
	old, ok := l.close(causeUser)
	require.True(t, ok)
	require.True(t, old.has(bitPending), "the one that closes sees that it has to linger")
	require.False(t, l.leave(0), "pending output is inside")
	require.True(t, l.enterSending())
	_, ok = l.pendingDone(func() bool { return true })
	require.True(t, ok)
	require.True(t, l.leave(bitSending), "the one that paid is the last")
	require.Equal(t, phaseReleased, l.load().phase())
}

func TestLifeNamesPendingOutput(t *testing.T) {
	l := owingWord(t)
	l.enterSending()
	l.set(bitSendFailed)
	require.Equal(t, "open refs=3 sending connected pending sendFailed", l.load().String())
}

// A flusher, senders and a closer: no two send at the same time, and exactly one is the last.
func TestLifePendingUnderContention(t *testing.T) {
	for range 200 {
		var l lifeWord
		l.begin(true)
		l.open()
		var sending, releases atomic.Int32
		var unsent atomic.Int32 // changed by the one that sends only
		alone := func(f func()) {
			if sending.Add(1) != 1 {
				t.Error("two send at a time")
			}
			f()
			sending.Add(-1)
		}
		left := func(last bool) {
			if last {
				releases.Add(1)
			}
		}
		var wg sync.WaitGroup
		pay := func() {
			if !l.enterSending() {
				return
			}
			alone(func() { unsent.Store(0) })
			l.pendingDone(func() bool { return unsent.Load() == 0 })
			left(l.leave(bitSending))
		}
		wg.Go(func() {
			for range 50 {
				if l.use(flusher) != entered {
					return
				}
				for l.load().has(bitSending) { // as awaitPoller, without a place to wait
					runtime.Gosched()
				}
				pending := false
				alone(func() { unsent.Add(1) })
				pending = l.addPending(flusher)
				if pending {
					continue
				}
				alone(func() { unsent.Store(0) })
				l.pendingDone(func() bool { return unsent.Load() == 0 })
				left(l.leave(flusher))
			}
		})
		for range 3 {
			wg.Go(func() {
				for range 50 {
					pay()
				}
			})
		}
		wg.Go(func() {
			if closes(&l, causeUser) {
				left(l.leave(0))
			}
		})
		wg.Wait()
		pay()
		require.EqualValues(t, 1, releases.Load(), "%v", l.load())
		require.Equal(t, phaseReleased, l.load().phase())
		require.Zero(t, unsent.Load())
	}
}

// The connection is alive, but what its peer waits for is lost. Both sides learn of it, and a handler's connection is
// freed when the peer has answered the end with its own.
func TestPeerLearnsThatPendingOutputIsLost(t *testing.T) {
	for _, errno := range []syscall.Errno{unix.ENOBUFS, unix.ENOMEM} {
		t.Run(errno.Error(), func(t *testing.T) {
			testkit.CaptureLog(t, SetLoggerOutput)
			h := newTestPoller(t)
			r := &fakeRing{size: 64}
			fl := newFleet(t, h, 8, "tcp")
			victim, peer := fl.conns[3], fl.peers[3]
			h.rings("always", func() (ring, error) { return r, nil })
			h.do(func() { r.script = refusing(victim.Fd(), errno) })
			fl.tell(t)
			fl.answered(t, 3)
			require.NoError(t, peer.SetReadDeadline(time.Now().Add(20*time.Second)))
			rest, err := io.ReadAll(peer)
			require.NoError(t, err, "the stream has not ended")
			require.Empty(t, rest)
			if err := victim.Flush(); !errors.Is(err, ErrConnClosed) {
				require.ErrorIs(t, err, errno)
			}
			require.NoError(t, peer.Close())
			released(t, victim)
		})
	}
}

// refusing fails the sends of one connection.
func refusing(fd int, errno syscall.Errno) ringScript {
	return func(o operation) int32 {
		if o.send && o.fd == fd {
			return -int32(errno)
		}
		return o.plain()
	}
}
