package netpoll

// This file holds the addresses of DialTCP and DialUnix.

import "net"

// TCPAddr is a [net.TCPAddr].
type TCPAddr struct{ net.TCPAddr }

// UnixAddr is a [net.UnixAddr].
type UnixAddr struct{ net.UnixAddr }

// ResolveTCPAddr is [net.ResolveTCPAddr].
func ResolveTCPAddr(network, address string) (*TCPAddr, error) {
	addr, err := net.ResolveTCPAddr(network, address)
	if err != nil {
		return nil, err
	}
	return &TCPAddr{*addr}, nil
}

// ResolveUnixAddr is [net.ResolveUnixAddr].
func ResolveUnixAddr(network, address string) (*UnixAddr, error) {
	addr, err := net.ResolveUnixAddr(network, address)
	if err != nil {
		return nil, err
	}
	return &UnixAddr{*addr}, nil
}

// netAddr returns a as a net.Addr that is nil if a is.
func (a *TCPAddr) netAddr() net.Addr {
	if a == nil {
		return nil
	}
	return &a.TCPAddr
}

// netAddr returns a as a net.Addr that is nil if a is.
func (a *UnixAddr) netAddr() net.Addr {
	if a == nil {
		return nil
	}
	return &net.UnixAddr{Name: a.Name, Net: "unix"}
}
