//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// This file holds the options of new TCP sockets that package net would set.

import (
	"net"
	"reflect"
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

// keepAliveOfListener is keepAliveOf for a listener of package net that somebody else has made, and its settings with it.
// If it cannot be seen what they are, accepted connections are left as they are.
func keepAliveOfListener(l net.Listener) net.KeepAliveConfig {
	lc, ok := listenConfigOf(l)
	if !ok {
		return net.KeepAliveConfig{}
	}
	return keepAliveOf(&lc)
}

// listenConfigOf returns the keepalive settings of a *net.TCPListener. Package net keeps them in a field that is not
// exported, applies them to each connection it accepts, and tells them nobody.
func listenConfigOf(l any) (lc net.ListenConfig, ok bool) {
	v := reflect.ValueOf(l)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return lc, false
	}
	field := v.Elem().FieldByName("lc")
	if !field.IsValid() || field.Type() != reflect.TypeFor[net.ListenConfig]() {
		return lc, false
	}
	config := field.FieldByName("KeepAliveConfig")
	lc.KeepAlive = time.Duration(field.FieldByName("KeepAlive").Int())
	lc.KeepAliveConfig = net.KeepAliveConfig{
		Enable:   config.FieldByName("Enable").Bool(),
		Idle:     time.Duration(config.FieldByName("Idle").Int()),
		Interval: time.Duration(config.FieldByName("Interval").Int()),
		Count:    int(config.FieldByName("Count").Int()),
	}
	return lc, true
}

// setKeepAliveConfig applies config to a new TCP socket. Errors are left alone: they can only mean that the peer is
// gone already, which shows soon enough.
func setKeepAliveConfig(fd int, config net.KeepAliveConfig) {
	if !config.Enable {
		return
	}
	_ = setOption(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
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

// setNoDelay sends what is written at once. For errors see setKeepAliveConfig.
func setNoDelay(fd int) { _ = setOption(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) }
