//go:build !((linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd)

package netpoll

// This file holds that no poller watches a socket on systems that have none here.

func newPacketWatch(s *packetServer) packetSource { return newPacketReader(s) }
