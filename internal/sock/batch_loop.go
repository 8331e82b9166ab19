//go:build (linux && kqsim) || darwin || dragonfly || freebsd || netbsd || openbsd

package sock

// This file holds receiving and sending many datagrams with one system call for each, where there is none for all. The
// address of each datagram that is received costs an allocation.

import (
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/fault"
	"github.com/cloudwego/netpoll/internal/happens"
)

// Batch is a list of datagrams. The zero value is ready. One goroutine at a time may use it.
type Batch struct {
	list  [MaxBatch]datagram
	inet4 unix.SockaddrInet4
	inet6 unix.SockaddrInet6
}

type datagram struct {
	p         []byte
	n         int
	addr      netip.AddrPort
	inet6     bool
	truncated bool
}

// Room makes p the place for the i-th datagram to receive.
func (b *Batch) Room(i int, p []byte) { b.list[i] = datagram{p: p} }

// Put makes p, for the given address, the i-th datagram to send. The address is not valid if the socket is connected.
// inet6 says that it is a socket of IPv6.
func (b *Batch) Put(i int, p []byte, to netip.AddrPort, inet6 bool) {
	b.list[i] = datagram{p: p, addr: to, inet6: inet6}
}

// Clear forgets the memory that the first n datagrams point to.
func (b *Batch) Clear(n int) { clear(b.list[:n]) }

// Receive receives up to n datagrams, without waiting, into the rooms of the first n, and returns how many came. There
// may be an error beside some.
func (b *Batch) Receive(fd, n int) (got int, err error) {
	limit, errno := fault.Transfer(fault.RecvPackets, fd, n)
	if errno != 0 && errno != syscall.EINTR {
		return result(0, errno, "recvmsg")
	}
	for got < limit {
		err := b.list[got].receive(fd)
		happens.AfterReceive()
		switch {
		case err == nil:
			got++
		case err == error(syscall.EINTR):
		case err == error(syscall.EAGAIN) && got > 0:
			return got, nil
		default:
			_, err := result(0, err, "recvmsg")
			return got, err
		}
	}
	return got, nil
}

func (d *datagram) receive(fd int) error {
	n, _, flags, from, err := unix.Recvmsg(fd, d.p, nil, unix.MSG_DONTWAIT)
	if err != nil {
		return err
	}
	d.n, d.truncated = n, flags&unix.MSG_TRUNC != 0
	switch from := from.(type) {
	case *unix.SockaddrInet4:
		d.addr = netip.AddrPortFrom(netip.AddrFrom4(from.Addr), uint16(from.Port))
	case *unix.SockaddrInet6:
		d.addr = packetAddress(from.Addr, uint16(from.Port), from.ZoneId)
	}
	return nil
}

// Send sends the datagrams from the one with the index first to before the one with the index end, without waiting, and
// returns how many the kernel took. If it took none, the error is that of the first.
func (b *Batch) Send(fd, first, end int) (sent int, err error) {
	limit, errno := fault.Transfer(fault.SendPackets, fd, end-first)
	if errno != 0 && errno != syscall.EINTR {
		return result(0, errno, "sendto")
	}
	for sent < limit {
		happens.BeforeSend()
		err := b.sendOne(fd, &b.list[first+sent])
		switch {
		case err == nil:
			sent++
		case err == error(syscall.EINTR):
		case sent > 0:
			return sent, nil // the next call gets it
		case err == error(syscall.EAGAIN):
			return 0, ErrWouldBlock
		default:
			return 0, os.NewSyscallError("sendto", err)
		}
	}
	return sent, nil
}

func (b *Batch) sendOne(fd int, d *datagram) error {
	var to unix.Sockaddr
	switch {
	case !d.addr.IsValid():
	case d.inet6:
		b.inet6 = unix.SockaddrInet6{Port: int(d.addr.Port()), Addr: d.addr.Addr().As16(),
			ZoneId: zoneIndex(d.addr.Addr().Zone())}
		to = &b.inet6
	default:
		b.inet4 = unix.SockaddrInet4{Port: int(d.addr.Port()), Addr: d.addr.Addr().As4()}
		to = &b.inet4
	}
	_, err := unix.SendmsgN(fd, d.p, nil, to, unix.MSG_DONTWAIT)
	return err
}

// Received describes the i-th datagram that was received: how much of its room it takes, where it came from, and whether
// the room was too small.
func (b *Batch) Received(i int) (n int, from netip.AddrPort, truncated bool) {
	d := &b.list[i]
	return d.n, d.addr, d.truncated
}
