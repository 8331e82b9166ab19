//go:build unix && !linux

package sock

// This file holds addresses as package syscall gives them: it reads what each kernel writes.

import "syscall"

func localAddress(fd int) (Address, error) { return addressOf(syscall.Getsockname(fd)) }

// remoteAddress may fail for a connected socket that both sides have shut, with EINVAL on macOS.
func remoteAddress(fd int) (Address, error) { return addressOf(syscall.Getpeername(fd)) }

func addressOf(name syscall.Sockaddr, err error) (Address, error) {
	if err != nil {
		return Address{}, err
	}
	return fromSockaddr(name), nil
}

// unnamedSocket is what package net calls a Unix socket without a name.
const unnamedSocket = ""
