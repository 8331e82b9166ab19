package netpoll

// This file holds which networks there are connections on, and the errors for the others.

import (
	"net"
	"strings"
)

// checkNetwork returns nil for a network that this package has connections on, an unsupportedNetwork for one that only
// package net knows, and a bare net.UnknownNetworkError for one that neither knows.
func checkNetwork(network string) error {
	switch network {
	case "tcp", "tcp4", "tcp6", "unix":
		return nil
	case "udp", "udp4", "udp6", "unixgram", "unixpacket":
		return unsupportedNetwork(network)
	}
	switch family, _, _ := strings.Cut(network, ":"); family { // a protocol may follow
	case "ip", "ip4", "ip6":
		return unsupportedNetwork(network)
	}
	return net.UnknownNetworkError(network)
}

// unsupportedNetwork is the error of a network without streams. It Is [ErrUnsupported], and errors.As finds a
// net.UnknownNetworkError in it.
type unsupportedNetwork string

func (n unsupportedNetwork) Error() string { return n.unsupported().Error() }

func (n unsupportedNetwork) unsupported() error { return Exception(ErrUnsupported, string(n)) }

// Unwrap returns the errors that it Is.
func (n unsupportedNetwork) Unwrap() []error {
	return []error{n.unsupported(), net.UnknownNetworkError(n)}
}
