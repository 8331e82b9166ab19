package alarm

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAlarmsRingWhenSetAndUntilClosed(t *testing.T) {
	for _, tt := range []struct {
		name string
		make func(func() time.Duration) Alarm
	}{
		{"of this system", New},
		{"of the runtime", func(ring func() time.Duration) Alarm { return newTimer(ring) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rings, again := make(chan int), []time.Duration{time.Millisecond, time.Millisecond, 0, 0}
			var n atomic.Int32
			a := tt.make(func() time.Duration {
				i := int(n.Add(1)) - 1
				rings <- i
				return again[i]
			})
			defer a.Close()
			a.Set(time.Millisecond)
			for i := range 3 { // it asked for two more
				require.Equal(t, i, <-rings)
			}
			a.Set(time.Millisecond)
			require.Equal(t, 3, <-rings)
		})
	}
}
