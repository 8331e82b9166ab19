//go:build !(linux || darwin || dragonfly || freebsd || netbsd || openbsd)

package sock

// This file stands in for the options of sockets where package net owns the descriptors.

import (
	"net"
	"time"
)

const errNoOption = Unsupported("options by descriptor")

// SetNoDelay fails on this system.
func SetNoDelay(int, bool) error { return errNoOption }

// SetReadBuffer fails on this system.
func SetReadBuffer(int, int) error { return errNoOption }

// SetWriteBuffer fails on this system.
func SetWriteBuffer(int, int) error { return errNoOption }

// SetLinger fails on this system.
func SetLinger(int, int) error { return errNoOption }

// SetKeepAlive fails on this system.
func SetKeepAlive(int, int) error { return Unsupported("keepalive by descriptor") }

// SetKeepAlivePeriod fails on this system.
func SetKeepAlivePeriod(int, time.Duration) error { return errNoOption }

// SetKeepAliveConfig fails on this system.
func SetKeepAliveConfig(int, net.KeepAliveConfig) error { return errNoOption }
