//go:build !((linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd)

package netpoll

// This file stands in for the set of pollers on systems that have none here: its settings are checked and have no
// effect. Package net has the poller.

import "fmt"

// pollers is the one set of the process.
var pollers pollerSet

type pollerSet struct{}

func (pollerSet) init() error { return nil }

func (pollerSet) resize(n int) error {
	if n < 1 {
		return fmt.Errorf("netpoll: set number of pollers to %d: must be at least 1", n)
	}
	return nil
}

func (pollerSet) setBalance(lb LoadBalance) error {
	if lb != RoundRobin && lb != Random {
		return fmt.Errorf("netpoll: unknown load balance %d", int(lb))
	}
	return nil
}

// figuresOfPollers returns none.
func figuresOfPollers() []pollerFigures { return nil }

// worker: where there is no poller there are none.
type worker struct{}
