//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// This file holds what tests of pollers need to know of a kernel's kqueue.

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/testkit"
)

// queueBreaker puts another file under the number of its poller's queue, on the goroutine that polls, while that does not
// wait there: not every system would wake it.
type queueBreaker struct {
	kq, other int
	err       chan error
}

func (b *queueBreaker) interest() pollEvent { return evRead }

func (b *queueBreaker) onPoll(ev pollEvent, _ *batch) {
	if ev&evDetached == 0 {
		b.err <- unix.Dup2(b.other, b.kq)
	}
}

// breakQueue makes the queue of a poller fail.
func breakQueue(t *testing.T, p *poller) {
	t.Helper()
	a, b := socketPair(t)
	breaker := &queueBreaker{kq: p.sel.kq, other: b, err: make(chan error, 1)}
	var w watch
	require.NoError(t, w.open(p, a, breaker, evRead))
	_, err := unix.Write(b, []byte("x"))
	require.NoError(t, err)
	require.NoError(t, testkit.Receive(t, breaker.err, "the queue to be replaced"))
}
