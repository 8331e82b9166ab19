// Package peer has the sockets of attackers. They are plain descriptors without goroutines or buffers of Go, so
// thousands of them cost little, and an attacker can set all socket options.
package peer

// This file holds a socket, and crowds of them.

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Options are the options of a socket.
type Options struct {
	From          byte // the last byte of the source address 127.0.0.x
	ReceiveBuffer int  // SO_RCVBUF, in bytes; 0: the default. The system has a minimum
	SendBuffer    int  // SO_SNDBUF, the same
	Nowait        bool // do not wait until the connection is established
	Orderly       bool // close with FIN; otherwise Close resets the connection, and no port stays in TIME_WAIT
}

// Dial connects to addr. The socket that it returns is non-blocking.
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

// Send sends without blocking. n is less than len(p) if the socket is full. err says that the connection has ended.
func Send(fd int, p []byte) (n int, err error) {
	n, err = unix.SendmsgN(fd, p, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	switch err {
	case nil:
		return n, nil
	case unix.EAGAIN, unix.EINTR, unix.ENOTCONN, unix.EINPROGRESS: // the last two: not connected yet
		return 0, nil
	}
	return 0, err
}

// Receive receives at most len(p) bytes without blocking. At the end of the stream it returns an error.
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

	Dialed, Failed, Ended int64 // connections established, not established, and closed by the server
}

// NewCrowd makes a crowd of n sockets that are not connected yet.
func NewCrowd(addr netip.AddrPort, n int, options Options) *Crowd {
	c := &Crowd{addr: addr, options: options, fds: make([]int, n), sent: make([]int, n)}
	for i := range c.fds {
		c.fds[i] = -1
	}
	return c
}

// Fill connects the sockets that are not connected. It stops when ended returns true.
func (c *Crowd) Fill(ended func() bool) {
	for i, fd := range c.fds {
		if fd >= 0 {
			continue
		}
		if ended() {
			return
		}
		o := c.options
		c.last = c.last%200 + 1 // so that no address runs out of ports
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

// Each calls f for each connected socket. *sent is how many bytes were sent on it; f keeps the count. If f returns an
// error, the connection has ended.
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

// Count returns how many sockets are connected.
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
