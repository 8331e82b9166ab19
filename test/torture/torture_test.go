//go:build faults && linux && !netconn && !kqsim

package torture

// Torture: each scene is played once to count its system calls, and then again and again with one of them failing, in
// each way it plausibly can. Whatever fails, the scene ends, nothing is left behind, no data is wrong; and where the
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

// mostCalls is more than any scene needs system calls.
const mostCalls = 2000

// theatre plays scenes.
type theatre struct {
	t     *testing.T
	dir   string
	seed  uint64
	all   bool
	stuck bool // a scene has not ended
	log   *testkit.Log
}

// newTheatre prepares for playing scenes until the test ends.
func newTheatre(t *testing.T) *theatre {
	testnet.Poison(t)
	th := &theatre{t: t, dir: t.TempDir(), seed: rand.Uint64(), all: os.Getenv("NETPOLL_TORTURE") == "all"}
	th.log = testkit.CaptureLog(t, netpoll.SetLoggerOutput)
	if s := os.Getenv("NETPOLL_FAULT_SEED"); s != "" {
		var err error
		th.seed, err = strconv.ParseUint(s, 0, 64)
		require.NoError(t, err, "NETPOLL_FAULT_SEED")
	}
	return th
}

// each plays every scene over TCP, over Unix sockets, and over TCP with a ring where there is one.
func (th *theatre) each(f func(t *testing.T, sc scene, network string)) {
	for _, over := range []string{"tcp", "unix", "ring"} {
		restore, possible := netpoll.AlwaysRing(over == "ring")
		if over == "ring" && !possible {
			th.t.Log("this system has no io_uring: nothing is tried with it")
			restore()
			continue
		}
		network := strings.Replace(over, "ring", "tcp", 1)
		for _, sc := range scenes {
			if th.stuck {
				break
			}
			th.t.Run(over+"/"+strings.ReplaceAll(sc.name, " ", "-"), func(t *testing.T) { f(t, sc, network) })
		}
		restore()
	}
}

// play plays a scene under a schedule. The test ends if anything went wrong that no fault excuses; what is returned is
// what a user saw.
func (th *theatre) play(t *testing.T, sc scene, network, what string, schedule *fault.Schedule) (seen error) {
	t.Helper()
	what = fmt.Sprintf("%s\n(NETPOLL_FAULT_SEED=%d)", what, th.seed)
	s := &stage{network: network, dir: th.dir}
	before := belongingsNow()
	endPollers := netpoll.FreshPollers()
	fault.Use(schedule)
	ended := make(chan error, 1)
	var wrong error
	go func() {
		err := sc.play(s)
		serveErr, w := s.clear()
		wrong = w
		ended <- errors.Join(err, serveErr)
	}()
	select {
	case seen = <-ended:
	case <-time.After(endTime):
		th.stuck = true // what goes on now would disturb other scenes
		t.Fatalf("has not ended: %s\n%s", what, testkit.Stacks())
	}
	fault.Use(nil)
	if err := errors.Join(wrong, endPollers(endTime/2), before.back(s)); err != nil {
		t.Fatalf("%s: %v\nwhat the user saw: %v", what, err, seen)
	}
	require.NotContains(t, th.log.String(), "panic", what)
	return seen
}

// count plays a scene without faults and returns its system calls. While one goroutine takes a connection off its
// poller, another that polls may look again and again, for as long as the scheduler lets the first one wait; so a play
// that made too many calls is repeated.
func (th *theatre) count(t *testing.T, sc scene, network string) (calls fault.Calls) {
	t.Helper()
	for range 3 {
		count := new(fault.Schedule)
		require.NoError(t, th.play(t, sc, network, "no fault", count))
		if calls = count.Calls(); calls.Sum() < mostCalls {
			return calls
		}
		t.Logf("more calls than a scene needs: %v", calls)
	}
	t.Fatalf("it calls without end: %v", calls)
	return calls
}

func TestTortureNoFailingCallLeaksOrHangs(t *testing.T) {
	th := newTheatre(t)
	only := os.Getenv("NETPOLL_FAULT_ONLY")
	th.each(func(t *testing.T, sc scene, network string) {
		calls := th.count(t, sc, network)
		some := 1
		if th.all || only != "" {
			some = 0
		}
		list := calls.EachFault(th.seed, some)
		plays, fired := 0, 0
		for _, f := range list {
			if only != "" && f.String() != only || sc.accepts && f.HidesNewConnection() {
				continue
			}
			plays++
			schedule := &fault.Schedule{Seed: th.seed, Only: &f}
			seen := th.play(t, sc, network, f.String(), schedule)
			fired += int(schedule.Fired())
			if f.Harmless() && !(sc.accepts && f.AtAccept()) {
				require.NoError(t, seen, "%v is to be dealt with by the library", f)
			}
		}
		t.Logf("%d system calls, %d plays, %d faults", calls.Sum(), plays, fired)
		require.GreaterOrEqual(t, 10*fired, plays, "the calls that were to fail were not made")
	})
	th.report()
}

func TestTortureNoOneSeesWhatTheLibraryCanDealWith(t *testing.T) {
	th := newTheatre(t)
	th.each(func(t *testing.T, sc scene, network string) {
		for i := range th.times() {
			schedule := &fault.Schedule{Seed: th.seed + uint64(i), Rate: 0.3, Harmless: true, Scramble: netpoll.EventBits,
				AcceptFails: !sc.accepts}
			seen := th.play(t, sc, network, fmt.Sprintf("harmless faults, schedule %d", i), schedule)
			require.NoError(t, seen, "schedule %d\n(NETPOLL_FAULT_SEED=%d)", i, th.seed)
		}
	})
	th.report()
}

func TestTortureManyFaultsLeakNothing(t *testing.T) {
	th := newTheatre(t)
	th.each(func(t *testing.T, sc scene, network string) {
		for i := range th.times() {
			schedule := &fault.Schedule{Seed: th.seed + uint64(i), Rate: 0.1, Scramble: netpoll.EventBits,
				AcceptFails: !sc.accepts}
			_ = th.play(t, sc, network, fmt.Sprintf("faults of all kinds, schedule %d", i), schedule)
		}
	})
	th.report()
}

// times is how many schedules are tried.
func (th *theatre) times() int {
	if th.all {
		return 200
	}
	return 5
}

// report tells what went wrong so far, by kind.
func (th *theatre) report() {
	th.t.Logf("seed %d; faults so far:\n%s", th.seed, strings.Join(fault.Totals.Lines(), "\n"))
}
