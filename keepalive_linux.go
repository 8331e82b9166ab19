package netpoll

import "golang.org/x/sys/unix"

// What setting the keepalive times takes.
const (
	keepAliveIdle     = unix.TCP_KEEPIDLE
	keepAliveInterval = unix.TCP_KEEPINTVL
)
