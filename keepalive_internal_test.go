//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// This file holds the tests of what is read from inside a listener of package net.

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A new release of Go may keep these settings elsewhere. Then accepted connections get no keepalive settings, until
// listenConfigOf learns where.
func TestSettingsOfAListenerOfPackageNetCanBeSeen(t *testing.T) {
	want := net.ListenConfig{KeepAlive: 77 * time.Second, KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: 11 * time.Second, Interval: 12 * time.Second, Count: 13,
	}}
	ln, err := want.Listen(context.Background(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	got, ok := listenConfigOf(ln)
	require.True(t, ok, "this release of Go has no net.ListenConfig in the field lc of its net.TCPListener, where "+
		"listenConfigOf looks for the keepalive settings of converted listeners: teach it the new place")
	require.Equal(t, want.KeepAlive, got.KeepAlive)
	require.Equal(t, want.KeepAliveConfig, got.KeepAliveConfig)
}

// Where they cannot be seen nothing is set, and nothing breaks.
func TestSettingsThatCannotBeSeenAreLeftAlone(t *testing.T) {
	for name, l := range map[string]any{
		"no struct":           new(int),
		"no pointer":          struct{ lc net.ListenConfig }{},
		"no such field":       &struct{ config net.ListenConfig }{},
		"one of another kind": &struct{ lc int }{},
		"nothing":             nil,
	} {
		_, ok := listenConfigOf(l)
		require.False(t, ok, name)
	}
	require.Equal(t, net.KeepAliveConfig{}, keepAliveOfListener(struct{ net.Listener }{}))
}
