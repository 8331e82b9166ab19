//go:build !linux || netconn || kqsim

package netpoll

// This file holds that there is no shared memory on systems without what it needs: memory whose size is sealed, and a poller
// that reports edges.

import (
	"net"
	"sync/atomic"
)

// shmConnect agrees on nothing.
func shmConnect(conn *net.UnixConn, config *ShmConfig) (net.Conn, error) {
	return nil, Exception(ErrUnsupported, "shared memory on this system")
}

// shmAccept agrees on nothing.
func shmAccept(conn *net.UnixConn, config *ShmConfig, used *atomic.Int64) (net.Conn, error) {
	return nil, Exception(ErrUnsupported, "shared memory on this system")
}
