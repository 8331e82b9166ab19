//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A report that nobody wants any more ends with the first one, not when the goroutine that has decided so says it. An
// end is reported once anyway, and to answer that would only have it reported again.
func TestReportsThatNobodyWantsEnd(t *testing.T) {
	for name, test := range map[string]struct {
		closing bool
		ev      pollEvent
		updates int
	}{
		"room, and nobody sends":       {false, evWrite, 1},
		"input, while it closes":       {true, evRead, 1},
		"room, while it closes":        {true, evWrite, 1},
		"input's end, while it closes": {true, evRead | evHup, 1},
		"the end, while it closes":     {true, evHup | evErr, 0},
	} {
		t.Run(name, func(t *testing.T) {
			c := newConnection("")
			e := newEndsDuringSend(c, nil)
			require.NoError(t, c.start(causePoller))
			c.wantWrite.Store(test.closing) // as of a Flush that was waiting
			if test.closing {               // and somebody is inside
				require.Equal(t, entered, c.life.enter(bitReading, phaseOpen))
				defer c.leave(bitReading)
				require.NoError(t, c.Close())
			}
			pollerReports(c, test.ev)
			require.Equal(t, test.updates, e.updates)
			require.Zero(t, e.receives)
			require.Equal(t, test.closing, c.interest() == 0, "and it must not be reported again")
		})
	}
}
