package load

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestScheduleIsEvenAndDoesNotDrift(t *testing.T) {
	s := newSchedule(3000, 100, 100, 100+int64(time.Second))
	require.Equal(t, int64(100), s.due(0))
	require.Equal(t, 100+int64(time.Hour), s.due(3000*3600), "an hour later it is still right")
	for i := 1; i < 10000; i++ {
		gap := s.due(i) - s.due(i-1)
		require.InDelta(t, 333333, gap, 1)
	}
}

func TestWindowHasExactlyTheRequestsThatAreDueInIt(t *testing.T) {
	for _, rate := range []float64{1, 3, 7, 1000, 33333, 1e6} {
		s := newSchedule(rate, 5, 5+int64(20*time.Millisecond), 5+int64(50*time.Millisecond))
		n := 0
		for i := 0; s.due(i) < s.end; i++ {
			if s.in(s.due(i)) {
				n++
			}
		}
		require.Equal(t, n, s.planned(), "rate %v", rate)
		require.Equal(t, 0, s.before(s.start), "rate %v", rate)
		require.Equal(t, 1, s.before(s.start+1), "rate %v", rate)
	}
}
