//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package sock

// This file holds TCP keepalive. The names of the options differ between systems: see keepalive_idle.go, system_*.go.

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

// setKeepAliveOption does nothing for a negative value, and where the system has no such option (OpenBSD).
func setKeepAliveOption(fd, option, value int) error {
	if value < 0 || option == 0 {
		return nil
	}
	return setOption(fd, unix.IPPROTO_TCP, option, value)
}

// SetKeepAlive switches keepalive on: after secs seconds without traffic the peer is probed, every secs seconds. secs is
// at least 1 and at most what the system takes (32767 on Linux). OpenBSD has one time for the whole system, and keeps it.
func SetKeepAlive(fd, secs int) error {
	if secs < 1 {
		return os.NewSyscallError("setsockopt", unix.EINVAL)
	}
	if err := setOption(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	if err := setKeepAliveOption(fd, keepAliveInterval, secs); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	return os.NewSyscallError("setsockopt", setKeepAliveOption(fd, keepAliveIdle, secs))
}

// SetKeepAlivePeriod sets the idle time. 0 stands for that of package net, and less leaves it as it is.
func SetKeepAlivePeriod(fd int, d time.Duration) error {
	idle := keepAliveSeconds(d, defaultKeepAliveIdle)
	return os.NewSyscallError("setsockopt", setKeepAliveOption(fd, keepAliveIdle, idle))
}

// SetKeepAliveConfig applies config, also one that switches keepalive off. It sets the times even then, as package net
// does.
func SetKeepAliveConfig(fd int, config net.KeepAliveConfig) error {
	if err := setOption(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, number(config.Enable)); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	if err := SetKeepAlivePeriod(fd, config.Idle); err != nil {
		return err
	}
	interval := keepAliveSeconds(config.Interval, defaultKeepAliveInterval)
	if err := setKeepAliveOption(fd, keepAliveInterval, interval); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	return os.NewSyscallError("setsockopt", setKeepAliveOption(fd, keepAliveCount, keepAliveProbes(config)))
}

// StartKeepAlive applies config to a new TCP socket, if it switches keepalive on. Errors are ignored: they can only
// mean that the peer is gone already, which the next read or write finds.
func StartKeepAlive(fd int, config net.KeepAliveConfig) {
	if !config.Enable {
		return
	}
	_ = setOption(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	idle := keepAliveSeconds(config.Idle, defaultKeepAliveIdle)
	_ = setKeepAliveOption(fd, keepAliveIdle, idle)
	interval := keepAliveSeconds(config.Interval, defaultKeepAliveInterval)
	_ = setKeepAliveOption(fd, keepAliveInterval, interval)
	_ = setKeepAliveOption(fd, keepAliveCount, keepAliveProbes(config))
}

// keepAliveSeconds returns one of the times. 0 stands for def, a negative time leaves the system's value.
func keepAliveSeconds(d, def time.Duration) int {
	if d < 0 {
		return -1
	}
	if d == 0 {
		d = def
	}
	return WholeSeconds(d)
}

// keepAliveProbes returns how many probes may go unanswered.
func keepAliveProbes(config net.KeepAliveConfig) int {
	if config.Count == 0 {
		return defaultKeepAliveCount
	}
	return config.Count
}

// KeepAlive returns the settings of a socket. A value that the system does not have is negative: it is left as it is.
func KeepAlive(fd int) (config net.KeepAliveConfig) {
	on, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE)
	config.Enable = err == nil && on != 0
	get := func(option int) int {
		value, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, option)
		if option == 0 || err != nil {
			return -1
		}
		return value
	}
	config.Idle = time.Duration(get(keepAliveIdle)) * time.Second
	config.Interval = time.Duration(get(keepAliveInterval)) * time.Second
	config.Count = get(keepAliveCount)
	return config
}
