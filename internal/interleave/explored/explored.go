//go:build interleave

// Package explored is how tests explore schedules: it lets package interleave run a scenario with the settings of the
// environment.
package explored

import (
	"context"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll/internal/interleave"
	"github.com/cloudwego/netpoll/internal/runner"
)

// Explore runs scenario under every schedule with at most so many preemptions, and fails the test with the first that
// fails. Tasks of the library are threads of the scenario. NETPOLL_PREEMPTIONS is another limit, or "all" for none;
// NETPOLL_SCHEDULES is how many schedules a test runs at most. A schedule that failed is run again, alone, with
// NETPOLL_SCHEDULE=schedule and -run.
func Explore(t *testing.T, preemptions int, scenario func(r *interleave.Run)) {
	t.Helper()
	runner.Set(asThread)
	t.Cleanup(func() { runner.Set(nil) })
	if schedule := os.Getenv("NETPOLL_SCHEDULE"); schedule != "" {
		failure, err := interleave.Replay(schedule, scenario)
		require.NoError(t, err)
		if failure != nil {
			t.Fatal(failure)
		}
		return
	}
	o := interleave.Options{Preemptions: preemptions}
	if v := os.Getenv("NETPOLL_PREEMPTIONS"); v == "all" {
		o.Preemptions = -1
	} else if v != "" {
		o.Preemptions = number(t, v)
	}
	if v := os.Getenv("NETPOLL_SCHEDULES"); v != "" {
		o.Schedules = number(t, v)
	}
	start := time.Now()
	res := interleave.Explore(o, scenario)
	t.Logf("%d schedules of up to %d steps, %d preemptions, all of them: %v, in %v", res.Schedules, res.Steps,
		o.Preemptions, res.Complete, time.Since(start).Round(time.Millisecond))
	if res.Failure != nil {
		t.Fatalf("schedule %d: %v", res.Schedules, res.Failure)
	}
}

func number(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	require.NoError(t, err)
	return n
}

// asThread makes each task of the library a thread of the scenario.
func asThread(_ context.Context, f func()) {
	if r := interleave.Active(); r != nil {
		r.Go("runner", f)
	}
}
