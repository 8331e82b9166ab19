//go:build linux && netconn

package test

import (
	"net"

	"github.com/cloudwego/netpoll"
)

// closeGivenBack closes what Detach of a connection has left to the caller: the net.Conn.
func closeGivenBack(conn netpoll.Connection, _ int) error {
	return conn.(interface{ NetConn() net.Conn }).NetConn().Close()
}
