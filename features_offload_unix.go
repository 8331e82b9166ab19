//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// This file holds what the system says about datagrams that are left to it.

import "github.com/cloudwego/netpoll/internal/sock"

// probeSegments returns why the system cannot cut what is sent into datagrams, or nil.
func probeSegments() error { return sock.ProbeSegments() }

// probeCoalesce returns why it cannot join those that arrive, or nil.
func probeCoalesce() error { return sock.ProbeCoalesce() }
