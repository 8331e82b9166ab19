//go:build (linux && kqsim) || darwin || dragonfly || freebsd || netbsd || openbsd

package sock

// This file stands in for ancillary data of datagrams where batches are loops.

// TellLocal fails: it is not asked for on this system.
func TellLocal(int, bool) error { return Unsupported("local addresses of datagrams") }

// TellECN fails: it is not asked for on this system.
func TellECN(int, bool) error { return Unsupported("congestion notification") }

// Coalesce fails: this system does not join datagrams.
func Coalesce(int, bool) error { return Unsupported("joining datagrams") }

// ProbeSegments returns why the system cannot cut what is sent into datagrams.
func ProbeSegments() error { return Unsupported("segments of datagrams") }

// ProbeCoalesce returns why the system cannot join datagrams that arrive.
func ProbeCoalesce() error { return Unsupported("joining datagrams") }
