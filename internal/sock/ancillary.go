//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package sock

// This file holds what the system tells about a datagram beside its content and its sender.

import "net/netip"

// Ancillary is what the system tells about a datagram that was received, if it was asked to, or what it shall do
// with one to send. What it does not tell is zero.
type Ancillary struct {
	Local       netip.Addr // the address of this side
	Interface   int        // the index of the network interface
	ECN         uint8      // the two bits of explicit congestion notification
	SegmentSize int        // what was joined are datagrams of that size, except for a shorter last one
}
