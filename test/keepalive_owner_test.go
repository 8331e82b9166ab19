//go:build linux

package test

// Settings by the owner of a listener: accepted connections have them, as those that package net accepts.

import (
	"context"
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
)

// ownedOption is an option that accepted sockets inherit, or that package net or this one set on them.
type ownedOption struct {
	name          string
	level, option int
	own           int // a value that nothing has by itself
}

var ownedOptions = []ownedOption{
	{"SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
	{"TCP_KEEPIDLE", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 71},
	{"TCP_KEEPINTVL", unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 72},
	{"TCP_KEEPCNT", unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 5},
	{"TCP_NODELAY", unix.IPPROTO_TCP, unix.TCP_NODELAY, 0},
	{"TCP_USER_TIMEOUT", unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 12345},
	{"TCP_QUICKACK", unix.IPPROTO_TCP, unix.TCP_QUICKACK, 0},
	{"SO_PRIORITY", unix.SOL_SOCKET, unix.SO_PRIORITY, 3},
	{"IP_TOS", unix.IPPROTO_IP, unix.IP_TOS, 0x10},
	{"SO_RCVBUF", unix.SOL_SOCKET, unix.SO_RCVBUF, 1 << 16},
	{"SO_SNDBUF", unix.SOL_SOCKET, unix.SO_SNDBUF, 1 << 16},
}

// controlOf sets those options that are named on the listening socket.
func controlOf(names ...string) func(string, string, syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) (err error) {
		controlErr := c.Control(func(fd uintptr) {
			for _, o := range ownedOptions {
				for _, name := range names {
					if o.name == name && err == nil {
						err = unix.SetsockoptInt(int(fd), o.level, o.option, o.own)
					}
				}
			}
		})
		if err != nil {
			return err
		}
		return controlErr
	}
}

// optionsOf reads them all, from the descriptor of a connection or listener of any kind.
func optionsOf(t *testing.T, conn any) map[string]int {
	t.Helper()
	raw, err := conn.(syscall.Conn).SyscallConn()
	require.NoError(t, err)
	options := make(map[string]int)
	require.NoError(t, raw.Control(func(fd uintptr) {
		for _, o := range ownedOptions {
			v, err := unix.GetsockoptInt(int(fd), o.level, o.option)
			if err != nil {
				v = -1 // a listening socket for multipath TCP does not show all
			}
			options[o.name] = v
		}
	}))
	return options
}

// ownerSettings are what owners may have set.
func ownerSettings() map[string]net.ListenConfig {
	settings := make(map[string]net.ListenConfig)
	configs := map[string]net.ListenConfig{
		"KeepAlive 0":   {},
		"KeepAlive -1":  {KeepAlive: -1},
		"KeepAlive 30s": {KeepAlive: 30 * time.Second},
		"KeepAliveConfig": {KeepAliveConfig: net.KeepAliveConfig{
			Enable: true, Idle: 31 * time.Second, Interval: 32 * time.Second, Count: 3,
		}},
		"KeepAliveConfig of the system": {KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: -1, Interval: -1, Count: -1}},
		"KeepAliveConfig and -1": {KeepAlive: -1, KeepAliveConfig: net.KeepAliveConfig{
			Enable: true, Idle: 33 * time.Second,
		}},
		"KeepAliveConfig not enabled": {KeepAliveConfig: net.KeepAliveConfig{Idle: 33 * time.Second}},
	}
	controls := map[string][]string{
		"":                                 nil,
		", Control: keepalive":             {"SO_KEEPALIVE", "TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT"},
		", Control: times of keepalive":    {"TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT"},
		", Control: all but for keepalive": {"TCP_NODELAY", "TCP_USER_TIMEOUT", "TCP_QUICKACK", "SO_PRIORITY", "IP_TOS", "SO_RCVBUF", "SO_SNDBUF"},
	}
	for name, config := range configs {
		for suffix, options := range controls {
			if config.Control = nil; options != nil {
				config.Control = controlOf(options...)
			}
			settings[name+suffix] = config
		}
	}
	return settings
}

// ownedListeners are the ways from an owner's settings to a connection; each returns what has accepted it.
var ownedListeners = map[string]func(t *testing.T, config net.ListenConfig) any{
	"ConvertListener": func(t *testing.T, config net.ListenConfig) any {
		ln, err := netpoll.ConvertListener(ownedListener(t, config))
		require.NoError(t, err)
		t.Cleanup(func() { ln.Close() })
		return acceptOne(t, ln, func() { testkit.Dial(t, ln.Addr()) })
	},
	"ListenConfig": func(t *testing.T, config net.ListenConfig) any {
		own := netpoll.ListenConfig{ListenConfig: config}
		ln, err := own.Listen(context.Background(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		t.Cleanup(func() { ln.Close() })
		return acceptOne(t, ln, func() { testkit.Dial(t, ln.Addr()) })
	},
	"Serve": func(t *testing.T, config net.ListenConfig) any {
		return servedOn(t, ownedListener(t, config))
	},
	"Serve of a converted one": func(t *testing.T, config net.ListenConfig) any {
		ln, err := netpoll.ConvertListener(ownedListener(t, config))
		require.NoError(t, err)
		return servedOn(t, ln)
	},
	"Serve of a wrapped one": func(t *testing.T, config net.ListenConfig) any {
		return servedOn(t, struct{ net.Listener }{ownedListener(t, config)})
	},
	"NewConnection": func(t *testing.T, config net.ListenConfig) any {
		ln := ownedListener(t, config)
		conn, err := netpoll.NewConnection(acceptOne(t, ln, func() { testkit.Dial(t, ln.Addr()) }))
		require.NoError(t, err)
		t.Cleanup(func() { conn.Close() })
		return conn
	},
}

func ownedListener(t *testing.T, config net.ListenConfig) net.Listener {
	t.Helper()
	ln, err := config.Listen(context.Background(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { ln.Close() })
	return ln
}

// servedOn returns a connection that a server has accepted.
func servedOn(t *testing.T, ln net.Listener) any {
	t.Helper()
	conns := make(chan netpoll.Connection, 1)
	testnet.ServeOn(t, ln, nil, netpoll.WithOnConnect(func(ctx context.Context, conn netpoll.Connection) context.Context {
		conns <- conn
		return ctx
	}))
	testkit.Dial(t, ln.Addr())
	return testkit.Receive(t, conns)
}

// Behaviour 9.3: settings by the owner of a listener reach accepted connections as with package net.
func TestWhatTheOwnerOfAListenerHasSetStays(t *testing.T) {
	for setting, config := range ownerSettings() {
		reference := ownedListener(t, config)
		want := optionsOf(t, acceptOne(t, reference, func() { testkit.Dial(t, reference.Addr()) }))
		for name, accepted := range ownedListeners {
			t.Run(fmt.Sprintf("%s, %s", name, setting), func(t *testing.T) {
				require.Equal(t, want, optionsOf(t, accepted(t, config)))
			})
		}
	}
}

// Behaviour 9.3: converting changes nothing on the listening socket itself.
func TestConvertingChangesNoOptionOfTheListeningSocket(t *testing.T) {
	for setting, config := range ownerSettings() {
		ln := ownedListener(t, config)
		want := optionsOf(t, ln)
		converted, err := netpoll.ConvertListener(ln)
		require.NoError(t, err)
		require.Equal(t, want, optionsOf(t, ln), setting)
		require.NoError(t, converted.Close())
	}
}
