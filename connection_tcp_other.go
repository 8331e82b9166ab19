//go:build !((linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd)

package netpoll

// This file holds what stands for the options of sockets on systems without a poller, where the net.Conn that carries a
// connection has them.

import (
	"net"
	"time"
)

var errNoSocket = Exception(ErrUnsupported, "options by descriptor")

func usesMultipath(int) bool { return false }

func setNoDelayOption(int, bool) error { return errNoSocket }

func setReadBufferOption(int, int) error { return errNoSocket }

func setWriteBufferOption(int, int) error { return errNoSocket }

func setLingerOption(int, int) error { return errNoSocket }

func setKeepAlivePeriod(int, time.Duration) error { return errNoSocket }

func changeKeepAlive(int, net.KeepAliveConfig) error { return errNoSocket }
