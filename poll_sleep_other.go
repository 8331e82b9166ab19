//go:build (linux && !netconn && interleave) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// This file holds where a worker sleeps on systems other than Linux, and in explored schedules.

import "github.com/cloudwego/netpoll/internal/wait"

// sleeper is where a worker sleeps.
type sleeper struct{ w *wait.Waiter }

// prepare must come before each sleep, and before the wake that ends it.
func (s *sleeper) prepare() {
	if s.w == nil {
		s.w = wait.New()
	}
}

// wake ends one sleep, also one that has not begun.
func (s *sleeper) wake() { s.w.Wake() }

// sleep returns after wake.
func (s *sleeper) sleep() { s.w.Sleep() }

func (s *sleeper) close() {}
