//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// This file holds the options of sockets for connections that a poller watches.

import (
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/fault"
)

func setNoDelayOption(fd int, noDelay bool) error {
	return os.NewSyscallError("setsockopt", setOption(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, number(noDelay)))
}

func setReadBufferOption(fd, bytes int) error {
	return os.NewSyscallError("setsockopt", setOption(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, bytes))
}

func setWriteBufferOption(fd, bytes int) error {
	return os.NewSyscallError("setsockopt", setOption(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, bytes))
}

func setLingerOption(fd, sec int) error {
	linger := unix.Linger{Onoff: int32(number(sec >= 0)), Linger: int32(max(sec, 0))}
	if errno := fault.Check(fault.Setsockopt); errno != 0 {
		return os.NewSyscallError("setsockopt", errno)
	}
	return os.NewSyscallError("setsockopt", unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &linger))
}

func setKeepAlivePeriod(fd int, d time.Duration) error {
	idle := keepAliveSeconds(d, defaultKeepAliveIdle)
	return os.NewSyscallError("setsockopt", setKeepAliveOption(fd, keepAliveIdle, idle))
}

// changeKeepAlive applies config, also one that switches keepalive off. It sets the times even then, as package net does.
func changeKeepAlive(fd int, config net.KeepAliveConfig) error {
	if err := setOption(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, number(config.Enable)); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	if err := setKeepAlivePeriod(fd, config.Idle); err != nil {
		return err
	}
	interval := keepAliveSeconds(config.Interval, defaultKeepAliveInterval)
	if err := setKeepAliveOption(fd, keepAliveInterval, interval); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	count := config.Count
	if count == 0 {
		count = defaultKeepAliveCount
	}
	return os.NewSyscallError("setsockopt", setKeepAliveOption(fd, keepAliveCount, count))
}

// keepAliveOfSocket returns what a socket has. What the system does not know is to be left as it is.
func keepAliveOfSocket(fd int) (config net.KeepAliveConfig) {
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

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}
