//go:build !kqsim && !netconn

package netpoll

// This file holds what tests of pollers need to know of epoll, and one of its own.

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/metric"
)

// breakQueue makes the queue of a poller fail.
func breakQueue(t *testing.T, p *poller) {
	t.Helper()
	require.NoError(t, p.sel.file.Close())
	p.sel.interrupt()
}

// The system forgets a descriptor only by itself if no duplicate of it is left. One that is readable would keep the
// poller busy for ever.
func TestClosedWatchIsForgottenByTheSystem(t *testing.T) {
	sel, err := newSelector()
	require.NoError(t, err)
	defer sel.close()
	p := makePoller(sel, nil, new(metric.Set)) // only this test polls
	defer p.watchdog.alarm.Close()
	a, b := socketPair(t)
	r := newRecorder(a)
	require.NoError(t, r.watch.open(p, a, r, evRead|evHup))
	_, err = unix.Write(b, []byte("x"))
	require.NoError(t, err)
	n, err := sel.look(maxEvents)
	require.NoError(t, err)
	require.Equal(t, 1, n, "events of a readable socket")
	r.watch.close()
	n, err = sel.look(maxEvents)
	require.NoError(t, err)
	require.Zero(t, n, "events of a socket that is not watched any more")
}
