// Package peer has the sockets of attackers: plain descriptors without goroutines or buffers of Go, so that thousands
// of them cost little, and everything a hostile program could set on them can be set.
package peer

// This file holds a socket, and crowds of them.

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Options are those of a socket.
type Options struct {
	From          byte // the last byte of the source address 127.0.0.x
	ReceiveBuffer int  // SO_RCVBUF, in bytes; 0: as it is. The system has a least value of its own
	SendBuffer    int  // SO_SNDBUF, the same
	Nowait        bool // return while the connection is still being made
	Orderly       bool // close with FIN; otherwise Close resets the connection, and no port is left waiting
}

// Dial connects to addr. The socket does not block from then on.
func Dial(addr netip.AddrPort, o Options) (fd int, err error) {
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	if err = o.set(fd); err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, max(o.From, 1)}})
	}
	if err == nil && o.Nowait {
		err = unix.SetNonblock(fd, true)
	}
	if err == nil {
		err = unix.Connect(fd, &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()})
		if o.Nowait && err == unix.EINPROGRESS {
			err = nil
		}
	}
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func (o Options) set(fd int) (err error) {
	set := func(level, name, value int) {
		if err == nil {
			err = unix.SetsockoptInt(fd, level, name, value)
		}
	}
	set(unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	set(unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	if o.ReceiveBuffer > 0 {
		set(unix.SOL_SOCKET, unix.SO_RCVBUF, o.ReceiveBuffer)
	}
	if o.SendBuffer > 0 {
		set(unix.SOL_SOCKET, unix.SO_SNDBUF, o.SendBuffer)
	}
	if err == nil && !o.Orderly {
		err = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	return err
}

// Send sends what the socket takes at once. n is less than len(p) if it is full; err says that the connection is over.
func Send(fd int, p []byte) (n int, err error) {
	n, err = unix.SendmsgN(fd, p, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	switch err {
	case nil:
		return n, nil
	case unix.EAGAIN, unix.EINTR, unix.ENOTCONN, unix.EINPROGRESS: // the latter two: not connected yet
		return 0, nil
	}
	return 0, err
}

// Receive receives what is there, up to len(p) bytes. At the end of the stream it returns an error.
func Receive(fd int, p []byte) (n int, err error) {
	n, _, err = unix.Recvfrom(fd, p, unix.MSG_DONTWAIT)
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		return 0, nil
	case err != nil:
		return 0, err
	case n == 0:
		return 0, unix.ESHUTDOWN
	}
	return n, nil
}

// Connected reports whether the handshake is over.
func Connected(fd int) bool {
	_, err := unix.Getpeername(fd)
	return err == nil
}

// Crowd is a number of sockets to one server. One goroutine at a time may use it.
type Crowd struct {
	addr    netip.AddrPort
	options Options
	fds     []int // -1: not connected
	sent    []int // bytes sent on each since it was dialed
	last    byte  // the last source address

	Dialed, Failed, Ended int64 // connections made, not made, and ended by the server
}

// NewCrowd makes a crowd of n, none of them connected.
func NewCrowd(addr netip.AddrPort, n int, options Options) *Crowd {
	c := &Crowd{addr: addr, options: options, fds: make([]int, n), sent: make([]int, n)}
	for i := range c.fds {
		c.fds[i] = -1
	}
	return c
}

// Fill connects those that are not connected, until ended returns true.
func (c *Crowd) Fill(ended func() bool) {
	for i, fd := range c.fds {
		if fd >= 0 {
			continue
		}
		if ended() {
			return
		}
		o := c.options
		c.last = c.last%200 + 1 // no address runs out of ports
		o.From = c.last + 1
		fd, err := Dial(c.addr, o)
		if err != nil {
			c.Failed++
			continue
		}
		c.Dialed++
		c.fds[i], c.sent[i] = fd, 0
	}
}

// Each calls f for those that are connected. sent counts the bytes sent so far, for f to keep. An error of f means that
// the connection is over.
func (c *Crowd) Each(ended func() bool, f func(fd int, sent *int) error) {
	for i, fd := range c.fds {
		if fd < 0 {
			continue
		}
		if ended() {
			return
		}
		if f(fd, &c.sent[i]) != nil {
			c.Ended++
			c.drop(i)
		}
	}
}

// Count returns how many are connected.
func (c *Crowd) Count() (n int64) {
	for _, fd := range c.fds {
		if fd >= 0 && Connected(fd) {
			n++
		}
	}
	return n
}

// Close closes all of them.
func (c *Crowd) Close() {
	for i, fd := range c.fds {
		if fd >= 0 {
			c.drop(i)
		}
	}
}

func (c *Crowd) drop(i int) {
	unix.Close(c.fds[i])
	c.fds[i] = -1
}
