//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// This file holds the keepalive settings that the owner of a listener has made for accepted connections.

import (
	"net"
	"reflect"
	"time"
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
