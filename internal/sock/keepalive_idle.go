//go:build linux || dragonfly || freebsd || netbsd

package sock

import "golang.org/x/sys/unix"

// The options that set the keepalive times.
const (
	keepAliveIdle     = unix.TCP_KEEPIDLE
	keepAliveInterval = unix.TCP_KEEPINTVL
	keepAliveCount    = unix.TCP_KEEPCNT
)
