//go:build linux && !netconn

package test

import "github.com/cloudwego/netpoll"

// closeGivenBack closes what Detach of a connection with that descriptor has left to the caller.
func closeGivenBack(_ netpoll.Connection, fd int) error { return closeFd(fd) }
