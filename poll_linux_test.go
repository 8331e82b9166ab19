//go:build !kqsim && !netconn

package netpoll

// This file holds what tests of pollers need to know of epoll.

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// breakQueue makes the queue of a poller fail.
func breakQueue(t *testing.T, p *poller) {
	t.Helper()
	require.NoError(t, p.sel.file.Close())
	p.sel.interrupt()
}
