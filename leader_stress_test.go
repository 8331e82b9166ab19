//go:build linux && !netconn

package netpoll

// Many connections on one poller, whose handlers take no time, or a little of the processor's, or wait, while the
// leadership is taken at random: every request is answered once and in order, by one task of its connection at a time.

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll/internal/testkit"
)

// leaderStress is the stress and what it has seen.
type leaderStress struct {
	h      *testPoller
	inside []atomic.Int32 // tasks of each connection at work
	inline atomic.Int64   // handlers that ran on a worker
	taken  atomic.Int64   // how often the leadership was taken by the test
	twice  atomic.Int64   // tasks that met another of their connection
}

// answering returns the handler of connection i: numbers of 8 bytes come back as they are.
func (w *leaderStress) answering(i int, seed uint64) OnRequest {
	rng := rand.New(rand.NewPCG(seed, uint64(i))) // used by one task at a time, which is what is tested
	return func(_ context.Context, conn Connection) error {
		if w.inside[i].Add(1) != 1 {
			w.twice.Add(1)
		}
		defer w.inside[i].Add(-1)
		switch rng.IntN(40) {
		case 0:
			time.Sleep(time.Millisecond)
		case 1:
			for end := time.Now().Add(100 * time.Microsecond); time.Now().Before(end); {
			}
		case 2, 3:
			if onPollGoroutine() {
				w.inline.Add(1)
				w.take(rng.IntN(50) == 0)
			}
		}
		r, out := conn.Reader(), conn.Writer()
		for r.Len() >= 8 {
			p, err := r.Next(8)
			if err != nil {
				return err
			}
			if _, err := out.WriteBinary(p); err != nil {
				return err
			}
			if rng.IntN(2) == 0 {
				if err := out.Flush(); err != nil {
					return err
				}
			}
		}
		if err := out.Flush(); err != nil {
			return err
		}
		return r.Release()
	}
}

// take takes the leadership if it is free.
func (w *leaderStress) take(slow bool) {
	if _, _, free := on(w.h.workers.leader.Load().handOff.v.Load()).takeAll(); free {
		w.h.rescueAll(slow)
		w.taken.Add(1)
	}
}

// takeAtRandom takes the leadership now and then until stop is called, as a watchdog or a waiting handler would.
func (w *leaderStress) takeAtRandom(t *testing.T, seed uint64) (stop func()) {
	rng := rand.New(rand.NewPCG(seed, 0))
	return testkit.Repeat(t, func(int) bool {
		w.take(rng.IntN(50) == 0)
		if rng.IntN(4) == 0 {
			time.Sleep(time.Duration(rng.IntN(200)) * time.Microsecond)
		}
		return true
	})
}

// converse sends the numbers 0 to n in bursts and expects them back. Before each burst the poller is made to forget
// that handlers were slow, or hardly any would run on its goroutine.
func (w *leaderStress) converse(peer net.Conn, n int, seed uint64) error {
	sent := make(chan error, 1)
	go func() {
		rng := rand.New(rand.NewPCG(seed, 1))
		var err error
		var burst []byte
		for i := range n {
			burst = binary.BigEndian.AppendUint64(burst, uint64(i))
			if rng.IntN(3) == 0 || i == n-1 {
				w.h.inlinePolicy.slowUntil.Store(0)
				if _, err = peer.Write(burst); err != nil {
					break
				}
				burst = burst[:0]
			}
		}
		sent <- err
	}()
	var p [8]byte
	for i := range n {
		if _, err := io.ReadFull(peer, p[:]); err != nil {
			return fmt.Errorf("answer %d: %w", i, err)
		}
		if got := binary.BigEndian.Uint64(p[:]); got != uint64(i) {
			return fmt.Errorf("answer %d in the place of %d", got, i)
		}
	}
	return <-sent
}

func TestEachRequestIsAnsweredOnceUnderRandomTakeovers(t *testing.T) {
	for name, change := range map[string]func(p *poller){
		"one worker":   func(p *poller) { p.maxWorkers = 1 },
		"as it is":     func(*poller) {},
		"many workers": func(p *poller) { p.worthCall, p.worthFull = 0, 0 },
	} {
		t.Run(name, func(t *testing.T) { answerUnderTakeovers(t, change) })
	}
}

func answerUnderTakeovers(t *testing.T, change func(p *poller)) {
	if runtime.GOMAXPROCS(0) < 4 {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	}
	const conns, requests = 32, 300
	before := pollGoroutines()
	w := &leaderStress{h: startTestPoller(t, change), inside: make([]atomic.Int32, conns)}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	peers := make([]net.Conn, conns)
	var all []*connection
	for i := range peers {
		c, peer := w.h.connect([]string{"tcp", "unix"}[i%2])
		require.NoError(t, c.SetOnRequest(w.answering(i, seed)))
		peers[i], all = peer, append(all, c)
	}
	stops := []func(){w.takeAtRandom(t, seed), w.takeAtRandom(t, seed+1)}
	rounds := 0
	testkit.Eventually(t, func() bool {
		var talkers sync.WaitGroup
		for i, peer := range peers {
			talkers.Go(func() {
				if err := w.converse(peer, requests, seed+uint64(i)); err != nil {
					t.Errorf("connection %d: %v", i, err)
				}
			})
		}
		talkers.Wait()
		rounds++
		return t.Failed() || rounds >= 3 && w.inline.Load() > 10 && w.taken.Load() > 10
	}, "the leadership was taken often from handlers on a worker")
	for _, stop := range stops {
		stop()
	}
	require.Zero(t, w.twice.Load(), "tasks that met another one of their connection")
	for i, peer := range peers {
		require.NoError(t, peer.Close())
		released(t, all[i])
	}
	alone(t, before+1)
	require.LessOrEqual(t, len(*w.h.workers.list.Load()), 4)
	testkit.Eventually(t, func() bool { return offers.Load() == 0 }, "no leadership is counted as free")
}
