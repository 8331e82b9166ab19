//go:build !linux || netconn || kqsim

package netpoll

// This file holds that there is no shared memory on systems without what it needs: memory whose size is sealed, and a poller
// that reports edges. Where the plain socket is allowed both sides use that.

import (
	"net"
	"sync/atomic"
)

// shmSupported returns an error for what this system cannot do.
func shmSupported(config *ShmConfig) error {
	if config.Fallback && config.AllowUser == nil {
		return nil
	}
	return Exception(ErrUnsupported, "shared memory on this system")
}

// shmConnect agrees on the plain socket, without a word.
func shmConnect(conn *net.UnixConn, config *ShmConfig) (net.Conn, error) {
	config.Statistics.onSocket(shmBySystem)
	return conn, nil
}

// shmAccept does the same.
func shmAccept(conn *net.UnixConn, config *ShmConfig, _ *atomic.Int64) (net.Conn, error) {
	return shmConnect(conn, config)
}
