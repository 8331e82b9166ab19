//go:build faults && linux && !netconn && !kqsim

package torture

// Torture: each scenario is run once to count its system calls, and then again and again with one of them failing, in
// each way it plausibly can. Whatever fails, the scenario ends, nothing is left behind, no data is wrong; and where the
// library can go on, no user sees that anything failed.
//
//	go test -tags faults ./test/torture
//
// tries a sample. With NETPOLL_TORTURE=all every call fails in every way. NETPOLL_FAULT_SEED repeats a run that failed,
// and NETPOLL_FAULT_ONLY a single fault by its name.

import (
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/fault"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

// nullLog takes the messages of net/http.
var nullLog = log.New(io.Discard, "", 0)

// mostCalls is more than any scenario needs system calls.
const mostCalls = 2000

// harness runs scenarios.
type harness struct {
	t     *testing.T
	dir   string
	seed  uint64
	all   bool
	stuck bool // a scenario has not ended
	log   *testkit.Log
}

// newHarness prepares for running scenarios until the test ends.
func newHarness(t *testing.T) *harness {
	testnet.Poison(t)
	h := &harness{t: t, dir: t.TempDir(), seed: rand.Uint64(), all: os.Getenv("NETPOLL_TORTURE") == "all"}
	h.log = testkit.CaptureLog(t, netpoll.SetLoggerOutput)
	if s := os.Getenv("NETPOLL_FAULT_SEED"); s != "" {
		var err error
		h.seed, err = strconv.ParseUint(s, 0, 64)
		require.NoError(t, err, "NETPOLL_FAULT_SEED")
	}
	return h
}

// each runs every scenario over TCP, over Unix sockets, and over TCP with each kind of ring that there is.
func (h *harness) each(f func(t *testing.T, sc scenario, network string)) {
	for _, over := range []struct{ name, network, ring string }{
		{"tcp", "tcp", ""}, {"unix", "unix", ""}, {"ring", "tcp", "io_uring"}, {"aio", "tcp", "linux aio"},
	} {
		restore, possible := netpoll.AlwaysRing(over.ring)
		if !possible {
			h.t.Logf("this system has no %s: nothing is tried with it", over.ring)
			restore()
			continue
		}
		for _, sc := range scenarios {
			if h.stuck {
				break
			}
			h.t.Run(over.name+"/"+strings.ReplaceAll(sc.name, " ", "-"), func(t *testing.T) { f(t, sc, over.network) })
		}
		restore()
	}
}

// run runs a scenario under a schedule. The test ends if anything went wrong that no fault excuses; the result is what
// a user saw.
func (h *harness) run(t *testing.T, sc scenario, network, what string, schedule *fault.Schedule) (seen error) {
	t.Helper()
	what = fmt.Sprintf("%s\n(NETPOLL_FAULT_SEED=%d)", what, h.seed)
	e := &env{network: network, dir: h.dir}
	before := belongingsNow()
	endPollers := netpoll.FreshPollers()
	fault.Use(schedule)
	ended := make(chan error, 1)
	var wrong error
	go func() {
		err := sc.run(e)
		serveErr, w := e.clear()
		wrong = w
		ended <- errors.Join(err, serveErr)
	}()
	select {
	case seen = <-ended:
	case <-time.After(endTime):
		h.stuck = true // its goroutines would disturb other scenarios
		t.Fatalf("has not ended: %s\n%s", what, testkit.Stacks())
	}
	fault.Use(nil)
	if err := errors.Join(wrong, endPollers(endTime/2), before.back(e)); err != nil {
		t.Fatalf("%s: %v\nwhat the user saw: %v", what, err, seen)
	}
	require.NotContains(t, h.log.String(), "panic", what)
	return seen
}

// count runs a scenario without faults and returns its system calls. While one goroutine takes a connection off its
// poller, another that polls may look again and again, for as long as the scheduler lets the first one wait; so a run
// that made too many calls is repeated.
func (h *harness) count(t *testing.T, sc scenario, network string) (calls fault.Calls) {
	t.Helper()
	for range 3 {
		count := new(fault.Schedule)
		require.NoError(t, h.run(t, sc, network, "no fault", count))
		if calls = count.Calls(); calls.Sum() < mostCalls {
			return calls
		}
		t.Logf("more calls than a scenario needs: %v", calls)
	}
	t.Fatalf("it calls without end: %v", calls)
	return calls
}

func TestTortureNoFailingCallLeaksOrHangs(t *testing.T) {
	h := newHarness(t)
	only := os.Getenv("NETPOLL_FAULT_ONLY")
	h.each(func(t *testing.T, sc scenario, network string) {
		calls := h.count(t, sc, network)
		some := 1
		if h.all || only != "" {
			some = 0
		}
		list := calls.EachFault(h.seed, some)
		runs, fired := 0, 0
		for _, f := range list {
			if only != "" && f.String() != only || sc.accepts && f.HidesNewConnection() {
				continue
			}
			runs++
			schedule := &fault.Schedule{Seed: h.seed, Only: &f}
			seen := h.run(t, sc, network, f.String(), schedule)
			fired += int(schedule.Fired())
			if f.Harmless() && !(sc.accepts && f.AtAccept()) {
				require.NoError(t, seen, "%v is to be dealt with by the library", f)
			}
		}
		t.Logf("%d system calls, %d runs, %d faults", calls.Sum(), runs, fired)
		require.GreaterOrEqual(t, 10*fired, runs, "the calls that were to fail were not made")
	})
	h.report()
}

func TestTortureNoOneSeesWhatTheLibraryCanDealWith(t *testing.T) {
	h := newHarness(t)
	h.each(func(t *testing.T, sc scenario, network string) {
		for i := range h.times() {
			schedule := &fault.Schedule{Seed: h.seed + uint64(i), Rate: 0.3, Harmless: true, Scramble: netpoll.EventBits,
				AcceptFails: !sc.accepts}
			seen := h.run(t, sc, network, fmt.Sprintf("harmless faults, schedule %d", i), schedule)
			require.NoError(t, seen, "schedule %d\n(NETPOLL_FAULT_SEED=%d)", i, h.seed)
		}
	})
	h.report()
}

func TestTortureManyFaultsLeakNothing(t *testing.T) {
	h := newHarness(t)
	h.each(func(t *testing.T, sc scenario, network string) {
		for i := range h.times() {
			schedule := &fault.Schedule{Seed: h.seed + uint64(i), Rate: 0.1, Scramble: netpoll.EventBits,
				AcceptFails: !sc.accepts}
			_ = h.run(t, sc, network, fmt.Sprintf("faults of all kinds, schedule %d", i), schedule)
		}
	})
	h.report()
}

// times is how many schedules are tried.
func (h *harness) times() int {
	if h.all {
		return 200
	}
	return 5
}

// report lists what went wrong so far, by kind.
func (h *harness) report() {
	h.t.Logf("seed %d; faults so far:\n%s", h.seed, strings.Join(fault.Totals.Lines(), "\n"))
}
