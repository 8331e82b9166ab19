//go:build !((linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd)

package netpoll

// This file holds batches of datagrams on systems that have no poller here: by the methods of package net, one datagram
// at a time.

// packetIO has nothing to know.
type packetIO struct{}

func (packetIO) init(udpSocket) error { return nil }

// most is how many datagrams one call receives at most.
func (packetIO) most() int { return 1 }

// read implements ReadBatch.
func (packetIO) read(c *UDPConn, packets []Packet) (int, error) { return c.readOne(packets) }

// write implements WriteBatch.
func (packetIO) write(c *UDPConn, packets []Packet) (int, error) { return c.writeEach(packets) }

// stats returns what the system knows: here it is not asked.
func (packetIO) stats() (PacketStats, error) { return PacketStats{}, ErrUnsupported }

// readerCalls receive for a slabReader.
type readerCalls struct{ r *slabReader }

func (rc *readerCalls) init(r *slabReader) { rc.r = r }

// next waits for a datagram.
func (rc *readerCalls) next() ([]Packet, error) { return rc.r.nextByNet() }
