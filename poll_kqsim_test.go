//go:build linux && kqsim

package netpoll

// This file holds what tests of pollers need to know of the model that stands in for a kqueue.

import (
	"testing"

	"github.com/cloudwego/netpoll/internal/kqueue"
)

// breakQueue makes the queue of a poller fail.
func breakQueue(_ *testing.T, p *poller) { kqueue.Break(p.sel.kq) }
