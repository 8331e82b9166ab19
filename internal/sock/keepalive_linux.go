package sock

import "golang.org/x/sys/unix"

// What setting the keepalive times takes.
const (
	keepAliveIdle     = unix.TCP_KEEPIDLE
	keepAliveInterval = unix.TCP_KEEPINTVL
	keepAliveCount    = unix.TCP_KEEPCNT
)
