//go:build linux && !netconn

package netpoll

// Handlers on the workers of a poller: when they run there, and that no other connection waits, whatever one of them does.

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/wait"
)

// onPollGoroutine reports whether the caller's goroutine is one that polls, or did when its handler began.
func onPollGoroutine() bool {
	buf := make([]byte, 16<<10)
	return strings.Contains(string(buf[:runtime.Stack(buf, false)]), "(*poller).runReady")
}

// pollGoroutines returns how many goroutines poll, or end a handler that they began while they did.
func pollGoroutines() int {
	buf := make([]byte, 4<<20)
	return strings.Count(string(buf[:runtime.Stack(buf, true)]), "netpoll.(*poller).run(")
}

// alone requires that the poller is left with one goroutine once the handlers are over.
func alone(t testing.TB, before int) {
	t.Helper()
	testkit.Eventually(t, func() bool { return pollGoroutines() <= before }, "goroutines that lost the leadership end")
}

func TestHandlersRunOnThePollGoroutine(t *testing.T) {
	h := newTestPoller(t)
	c, peer := h.connect("tcp")
	var there atomic.Bool
	require.NoError(t, c.SetOnRequest(func(ctx context.Context, conn Connection) error {
		there.Store(onPollGoroutine())
		return echoAll(ctx, conn)
	}))
	testkit.Eventually(t, func() bool { // not always: a busy machine makes handlers slow
		send1(t, peer)
		return there.Load()
	}, "a handler runs on a worker")
}

// send1 sends a byte and waits for its echo.
func send1(t testing.TB, peer net.Conn) {
	t.Helper()
	_, err := peer.Write([]byte("x"))
	require.NoError(t, err)
	testkit.Expect(t, peer, "x")
}

func TestHandlersRunInTheRunnerOfTheUser(t *testing.T) {
	var started atomic.Int32
	SetRunner(func(_ context.Context, f func()) {
		started.Add(1)
		go f()
	})
	defer SetRunner(nil)
	h := newTestPoller(t)
	c, peer := h.connect("tcp")
	var there atomic.Int32
	require.NoError(t, c.SetOnRequest(func(ctx context.Context, conn Connection) error {
		if onPollGoroutine() {
			there.Add(1)
		}
		return echoAll(ctx, conn)
	}))
	for range 50 {
		send1(t, peer)
		noOneInside(t, c) // else one task may serve two requests
	}
	require.Zero(t, there.Load())
	require.GreaterOrEqual(t, started.Load(), int32(50))
}

// blockings are ways in which a handler can wait.
var blockings = map[string]func(t *testing.T, h *testPoller) (wait, end func()){
	"channel": func(*testing.T, *testPoller) (wait, end func()) {
		ch := make(chan struct{})
		return func() { <-ch }, func() { close(ch) }
	},
	"lock": func(*testing.T, *testPoller) (wait, end func()) {
		var mu sync.Mutex
		mu.Lock()
		return func() { mu.Lock(); defer mu.Unlock() }, mu.Unlock
	},
	"reader of another connection": func(t *testing.T, h *testPoller) (wait, end func()) {
		c, peer := h.connect("unix")
		return func() {
				if _, err := c.Next(1); err != nil {
					t.Error(err)
				}
			}, func() {
				_, err := peer.Write([]byte("y"))
				require.NoError(t, err)
			}
	},
	"writer of another connection": func(t *testing.T, h *testPoller) (wait, end func()) {
		c, peer := h.connect("unix")
		filler := fill(t, c)
		return func() {
			if _, err := c.Write([]byte("y")); err != nil {
				t.Error(err)
			}
		}, func() { testkit.Expect(t, peer, filler+"y") }
	},
	"processor": func(*testing.T, *testPoller) (wait, end func()) {
		var stop atomic.Bool
		return func() {
			for !stop.Load() {
			}
		}, func() { stop.Store(true) }
	},
}

// The handlers of a batch are answered though one of them does not return, wherever it is in the batch.
func TestHandlerThatBlocksStopsNobodyElse(t *testing.T) {
	for name, blocking := range blockings {
		for _, victim := range []int{0, 3, 7} {
			t.Run(fmt.Sprintf("%s/%d", name, victim), func(t *testing.T) {
				before := pollGoroutines()
				h := newTestPoller(t)
				fl := newFleet(t, h, 8, "tcp")
				wait, end := blocking(t, h)
				end = sync.OnceFunc(end)
				defer end()
				var once sync.Once
				require.NoError(t, fl.conns[victim].SetOnRequest(func(ctx context.Context, conn Connection) error {
					once.Do(wait)
					return echoAll(ctx, conn)
				}))
				fl.ask(t)
				fl.answered(t, victim)
				require.True(t, fl.conns[victim].life.load().has(bitRunning))
				late := fl.message(victim)

				// The poller polls on, for old connections and new ones.
				c, peer := h.connect("tcp")
				require.NoError(t, c.SetOnRequest(echoAll))
				send1(t, peer)
				end()
				testkit.Expect(t, fl.peers[victim], late)
				noOneInside(t, fl.conns[victim])
				fl.ask(t)
				fl.answered(t)
				alone(t, before+1)
			})
		}
	}
}

type noAlarm struct{}

func (noAlarm) Set(time.Duration) {}
func (noAlarm) Close()            {}

// A handler that waits for a connection, or ends its goroutine, need not be found by the watchdog: the leadership is
// taken at once.
func TestLeadershipIsLeftAtOnceByHandlersThatSayThatTheyWait(t *testing.T) {
	for _, name := range []string{"reader of another connection", "writer of another connection", "end of goroutine"} {
		t.Run(name, func(t *testing.T) {
			testkit.CaptureLog(t, SetLoggerOutput)
			h := newTestPoller(t)
			h.do(func() {
				h.watchdog.alarm.Close()
				h.watchdog.alarm = noAlarm{}
			})
			fl := newFleet(t, h, 8, "tcp")
			wait, end := runtime.Goexit, func() {}
			if blocking, ok := blockings[name]; ok {
				wait, end = blocking(t, h)
			}
			var once sync.Once
			require.NoError(t, fl.conns[0].SetOnRequest(func(ctx context.Context, conn Connection) error {
				once.Do(wait)
				return echoAll(ctx, conn)
			}))
			fl.ask(t)
			fl.answered(t, 0)
			if name == "end of goroutine" {
				fl.drop(t, 0)
			} else {
				late := fl.message(0)
				end()
				testkit.Expect(t, fl.peers[0], late)
			}
			fl.ask(t)
			fl.answered(t)
		})
	}
}

// All handlers of a batch wait for each other: each has to run while the others do.
func TestHandlersOfABatchThatWaitForEachOtherMeet(t *testing.T) {
	before := pollGoroutines()
	h := newTestPoller(t)
	fl := newFleet(t, h, 8, "unix")
	var arrived sync.WaitGroup
	arrived.Add(len(fl.conns))
	for _, c := range fl.conns {
		var once sync.Once
		require.NoError(t, c.SetOnRequest(func(ctx context.Context, conn Connection) error {
			once.Do(func() {
				arrived.Done()
				arrived.Wait()
			})
			return echoAll(ctx, conn)
		}))
	}
	fl.ask(t)
	fl.answered(t)
	alone(t, before+1)
}

// A proxy's handler waits for another connection of the same poller, whose answer is made by a handler of that poller.
func TestProxiesOnOnePollerGetTheirAnswers(t *testing.T) {
	before := pollGoroutines()
	h := newTestPoller(t)
	fl := newFleet(t, h, 8, "tcp")
	for _, c := range fl.conns {
		a, b := GetSysFdPairs()
		front, err := NewFDConnection(a)
		require.NoError(t, err)
		back, err := NewFDConnection(b)
		require.NoError(t, err)
		t.Cleanup(func() { front.Close(); back.Close() })
		require.NoError(t, front.SetReadTimeout(testkit.Timeout))
		require.NoError(t, back.SetOnRequest(echoAll))
		require.NoError(t, c.SetOnRequest(func(_ context.Context, conn Connection) error {
			n := conn.Reader().Len()
			p, err := conn.Reader().ReadBinary(n)
			if err == nil {
				_, err = front.Write(p)
			}
			if err == nil {
				p, err = front.Reader().ReadBinary(n)
			}
			if err == nil {
				_, err = conn.Write(p)
			}
			if err != nil {
				t.Error(err)
			}
			return err
		}))
	}
	for range 20 {
		fl.ask(t)
		fl.answered(t)
	}
	alone(t, before+1)
}

func TestHandlerThatEndsItsGoroutineEndsItsConnectionOnly(t *testing.T) {
	for _, taken := range []bool{false, true} {
		for _, victim := range []int{0, 3, 7} {
			t.Run(fmt.Sprintf("taken=%v/%d", taken, victim), func(t *testing.T) {
				log := testkit.CaptureLog(t, SetLoggerOutput)
				before := pollGoroutines()
				h := newTestPoller(t)
				fl := newFleet(t, h, 8, "tcp")
				goOn := make(chan struct{})
				require.NoError(t, fl.conns[victim].SetOnRequest(func(_ context.Context, conn Connection) error {
					_ = conn.Reader().Skip(conn.Reader().Len())
					if taken {
						<-goOn // long enough for the leadership to be taken
					}
					runtime.Goexit()
					return nil
				}))
				fl.ask(t)
				fl.answered(t, victim)
				close(goOn)
				fl.drop(t, victim)
				require.Equal(t, 1, strings.Count(log.String(), "OnRequest of the connection with "))
				fl.ask(t)
				fl.answered(t)
				alone(t, before+1)
			})
		}
	}
}

func TestHandlerThatPanicsEndsItsConnectionOnly(t *testing.T) {
	for _, victim := range []int{0, 3, 7} {
		t.Run(fmt.Sprint(victim), func(t *testing.T) {
			log := testkit.CaptureLog(t, SetLoggerOutput)
			before := pollGoroutines()
			h := newTestPoller(t)
			fl := newFleet(t, h, 8, "tcp")
			require.NoError(t, fl.conns[victim].SetOnRequest(func(context.Context, Connection) error { panic("of a handler") }))
			fl.ask(t)
			fl.answered(t, victim)
			fl.drop(t, victim)
			require.Equal(t, 1, strings.Count(log.String(), "panic in OnRequest"))
			fl.ask(t)
			fl.answered(t)
			alone(t, before+1)
		})
	}
}

// drop waits for the end of the connection i, whose handler has not returned, and goes on without it.
func (f *fleet) drop(t testing.TB, i int) {
	t.Helper()
	released(t, f.conns[i])
	require.Equal(t, causePanic, f.conns[i].life.load().cause())
	f.conns = append(f.conns[:i], f.conns[i+1:]...)
	f.peers = append(f.peers[:i], f.peers[i+1:]...)
}

// A handler that keeps the watchdog waiting makes the poller hand the next ones to the runner.
func TestSlowHandlersGoToTheRunner(t *testing.T) {
	h := newTestPoller(t)
	c, peer := h.connect("tcp")
	var there atomic.Bool
	goOn := make(chan struct{})
	require.NoError(t, c.SetOnRequest(func(ctx context.Context, conn Connection) error {
		there.Store(onPollGoroutine())
		<-goOn
		return echoAll(ctx, conn)
	}))
	testkit.Eventually(t, func() bool {
		_, err := peer.Write([]byte("x"))
		require.NoError(t, err)
		testkit.Eventually(t, func() bool { return c.life.load().has(bitRunning) }, "the handler runs")
		h.do(func() {}) // which takes another goroutine that polls
		goOn <- struct{}{}
		testkit.Expect(t, peer, "x")
		if there.Load() {
			require.True(t, h.inlinePolicy.suspected.Load(), "the watchdog found the handler slow")
			h.inlinePolicy.slowUntil.Store(wait.NoDeadline)
		}
		return there.Load()
	}, "a handler runs on a worker")
	close(goOn)
	noOneInside(t, c) // a task that began on a worker may serve more than one request
	for range 20 {
		send1(t, peer)
		require.False(t, there.Load())
		noOneInside(t, c)
	}
	h.inlinePolicy.slowUntil.Store(0)
	testkit.Eventually(t, func() bool {
		send1(t, peer)
		return there.Load()
	}, "a handler runs on a worker again")
}

// A poller that is retired ends with its last descriptor, though a handler that began on it still runs.
func TestRetiredPollerEndsWhileItsHandlerRuns(t *testing.T) {
	h := newTestPoller(t)
	defer func(old int) { pollers.size = old }(pollers.size)
	require.NoError(t, SetNumLoops(2))
	ps := *pollers.current.Load()
	require.Same(t, h.poller, ps[0])
	retiring := ps[1]

	goOn, ended := make(chan struct{}), make(chan struct{})
	var conns []*connection
	var peers []net.Conn
	for len(conns) < 8 {
		c, peer := h.connect("unix")
		if c.common.watch.poller() != retiring {
			continue // it is closed with the test
		}
		conns, peers = append(conns, c), append(peers, peer)
		require.NoError(t, c.SetOnRequest(echoAll))
	}
	require.NoError(t, conns[0].SetOnRequest(func(_ context.Context, conn Connection) error {
		defer close(ended)
		<-goOn
		return conn.Reader().Skip(conn.Reader().Len())
	}))
	for _, peer := range peers {
		_, err := peer.Write([]byte("x"))
		require.NoError(t, err)
	}
	for _, peer := range peers[1:] {
		testkit.Expect(t, peer, "x")
	}
	testkit.Eventually(t, func() bool { return conns[0].life.load().has(bitRunning) }, "the handler runs")
	require.NoError(t, SetNumLoops(1))
	for _, peer := range peers[1:] {
		send1(t, peer) // it still serves its connections
	}
	for _, c := range conns {
		require.NoError(t, c.Close())
	}
	testkit.Receive(t, retiring.done, "the end of the retired poller")
	require.NoError(t, retiring.failure)
	close(goOn)
	testkit.Receive(t, ended, "the handler")
	released(t, conns[0])
}

// One processor is enough for all of it.
func TestOneProcessorIsEnough(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	before := pollGoroutines()
	h := newTestPoller(t)
	fl := newFleet(t, h, 16, "tcp")
	for range 50 {
		fl.ask(t)
		fl.answered(t)
		fl.tell(t)
		fl.answered(t)
	}
	wait, end := blockings["processor"](t, h)
	require.NoError(t, fl.conns[0].SetOnRequest(func(ctx context.Context, conn Connection) error {
		wait()
		return echoAll(ctx, conn)
	}))
	fl.ask(t)
	late := fl.message(0)
	fl.answered(t, 0)
	end()
	testkit.Expect(t, fl.peers[0], late)
	filler := fill(t, fl.conns[1])
	release := h.hold()
	putPending(t, fl.conns[1], flushed)
	release()
	require.NoError(t, fl.conns[1].Close())
	testkit.ExpectEnd(t, fl.peers[1], filler+flushed)
	alone(t, before+1)
}

func TestDescriptorsAreSpreadOverThePollers(t *testing.T) {
	newTestPoller(t)
	defer func(old int) { pollers.size = old }(pollers.size)
	require.NoError(t, SetNumLoops(2))
	counts := map[*poller]int{}
	for range 10 {
		c, _ := fdConnection(t)
		counts[inner(c).common.watch.poller()]++
	}
	require.Len(t, counts, 2)
	for _, n := range counts {
		require.Equal(t, 5, n, "round robin is even")
	}
}
