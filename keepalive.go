//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// This file holds TCP keepalive, and the option that goes with it on every new socket. The names of the options differ
// between systems: see socket_*.go.

import (
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// The keepalive settings of package net, for fields of net.KeepAliveConfig that are 0.
const (
	defaultKeepAliveIdle     = 15 * time.Second
	defaultKeepAliveInterval = 15 * time.Second
	defaultKeepAliveCount    = 9
)

// keepAliveOf returns what the connections of a listener made with lc get in package net.
func keepAliveOf(lc *net.ListenConfig) net.KeepAliveConfig {
	if lc.KeepAliveConfig.Enable || lc.KeepAlive < 0 {
		return lc.KeepAliveConfig
	}
	return net.KeepAliveConfig{Enable: true, Idle: lc.KeepAlive}
}

// setKeepAliveConfig applies config to a new TCP socket. Errors are left alone: they can only mean that the peer is
// gone already, which shows soon enough.
func setKeepAliveConfig(fd int, config net.KeepAliveConfig) {
	if !config.Enable {
		return
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	idle := keepAliveSeconds(config.Idle, defaultKeepAliveIdle)
	_ = setKeepAliveOption(fd, keepAliveIdle, idle)
	interval := keepAliveSeconds(config.Interval, defaultKeepAliveInterval)
	_ = setKeepAliveOption(fd, keepAliveInterval, interval)
	count := config.Count
	if count == 0 {
		count = defaultKeepAliveCount
	}
	_ = setKeepAliveOption(fd, keepAliveCount, count)
}

// keepAliveSeconds returns one of the times. 0 stands for def, a negative time leaves the system's value.
func keepAliveSeconds(d, def time.Duration) int {
	if d < 0 {
		return -1
	}
	if d == 0 {
		d = def
	}
	return wholeSeconds(d)
}

// setKeepAliveOption does nothing for a negative value, and where the system has no such option (OpenBSD).
func setKeepAliveOption(fd, option, value int) error {
	if value < 0 || option == 0 {
		return nil
	}
	return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, option, value)
}

// setNoDelay sends what is written at once. For errors see setKeepAliveConfig.
func setNoDelay(fd int) { _ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) }

// SetKeepAlive switches TCP keepalive on for a descriptor: after secs seconds without traffic the peer is probed, every
// secs seconds. secs is at least 1 and at most what the system takes (32767 on Linux). OpenBSD has one time for the
// whole system, and keeps it.
func SetKeepAlive(fd, secs int) error {
	if secs < 1 {
		return os.NewSyscallError("setsockopt", unix.EINVAL)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	if err := setKeepAliveOption(fd, keepAliveInterval, secs); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	return os.NewSyscallError("setsockopt", setKeepAliveOption(fd, keepAliveIdle, secs))
}
