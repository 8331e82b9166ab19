//go:build !((linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd)

package netpoll

// This file holds that nothing is left to systems that have no poller here.

func probeSegments() error { return Exception(ErrUnsupported, "segments of datagrams") }

func probeCoalesce() error { return Exception(ErrUnsupported, "joining datagrams") }
