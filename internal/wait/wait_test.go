package wait

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll/internal/interleave/clock"
)

// soon is a deadline that a test lets pass.
const soon = time.Millisecond

func TestWakeEndsTheWaitOrTheNext(t *testing.T) {
	var s Side
	s.Wake() // no goroutine waits
	require.False(t, s.Waiting())
	w := s.Start()
	require.True(t, s.Waiting())
	s.Wake()
	s.Wake()
	w.Wait(NoDeadline)
	woken := make(chan struct{})
	go func() {
		w.Wait(NoDeadline)
		close(woken)
	}()
	s.Wake()
	<-woken
	s.Stop(w)
	require.False(t, s.Waiting())
}

func TestWaitEndsAtTheDeadline(t *testing.T) {
	var s Side
	w := s.Start()
	defer s.Stop(w)
	for range 2 {
		deadline := clock.Now() + int64(soon)
		w.Wait(deadline)
		require.GreaterOrEqual(t, clock.Now(), deadline)
		w.Wait(deadline) // which has passed
	}
}

// A wake-up that no goroutine waited for does not wake the next borrower of the waiter.
func TestStopTakesBackAWakeUp(t *testing.T) {
	var s Side
	for range 10 {
		w := s.Start()
		deadline := clock.Now() + int64(soon)
		w.Wait(deadline)
		require.GreaterOrEqual(t, clock.Now(), deadline)
		s.Wake()
		s.Stop(w)
	}
}

func TestWaitCallsBeforeBlock(t *testing.T) {
	calls := 0
	BeforeBlock = func() { calls++ }
	defer func() { BeforeBlock = nil }()
	w := New()
	w.Wake()
	w.Wait(NoDeadline)
	w.Wait(clock.Now())
	require.Equal(t, 2, calls)
}

func TestDeadlineOverridesTheTimeoutThatClearsIt(t *testing.T) {
	var s Side
	require.Equal(t, NoDeadline, s.Until(5))
	require.Zero(t, s.CallStart(), "nobody will ask")
	s.SetTimeout(time.Second)
	require.Equal(t, time.Second, s.Timeout())
	require.Equal(t, int64(time.Second)+5, s.Until(5))
	require.NotZero(t, s.CallStart())
	require.False(t, s.Expired(), "a timeout is for calls")

	s.SetDeadline(time.Now().Add(-time.Second))
	require.True(t, s.Expired())
	require.Less(t, s.Until(clock.Now()), clock.Now())
	s.SetTimeout(-1)
	require.True(t, s.Expired(), "a negative timeout is ignored")
	s.SetTimeout(time.Second)
	require.False(t, s.Expired())

	s.SetDeadline(time.Now().Add(-time.Second))
	s.SetDeadline(time.Time{})
	require.Equal(t, int64(time.Second)+5, s.Until(5))
	s.SetTimeout(1<<63 - 1)
	require.Equal(t, NoDeadline, s.Until(5))
}

func TestExtremeDeadlines(t *testing.T) {
	var s Side
	for _, never := range []time.Time{time.Unix(1<<40, 0), time.Unix(1<<40, 0).UTC(), time.Now().Add(1<<63 - 1)} {
		s.SetDeadline(never)
		require.Equal(t, NoDeadline, s.Until(0), never)
	}
	for _, passed := range []time.Time{time.Time{}.Add(1), time.Unix(-1<<40, 0), time.Unix(0, 0), time.Now().Add(-1 << 62)} {
		s.SetDeadline(passed)
		require.True(t, s.Expired(), passed)
	}
}

func TestTimeOfADeadlineIsThatTime(t *testing.T) {
	var s Side
	want := time.Now().Add(time.Minute)
	s.SetDeadline(want.UTC().Round(0)) // as times from a database are
	got := TimeOf(s.Until(0))
	require.WithinDuration(t, want, got, time.Second)
	require.WithinDuration(t, want.Round(0), got.Round(0), time.Second, "by the wall clock")
}
