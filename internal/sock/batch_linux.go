//go:build linux && !kqsim

package sock

// This file holds receiving and sending many datagrams with one system call.

import (
	"net/netip"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/fault"
	"github.com/cloudwego/netpoll/internal/happens"
)

// quickBatch is how many datagrams a system call may move that the Go scheduler does not know of: see maxQuick.
const quickBatch = 16

// Batch is a list of datagrams with the arguments of the system calls that move them. The zero value is ready. One
// goroutine at a time may use it.
type Batch struct {
	msgs  [MaxBatch]message
	iovs  [MaxBatch]unix.Iovec
	names [MaxBatch]unix.RawSockaddrInet6 // or RawSockaddrInet4, which is shorter
	extra [MaxBatch]ancillaryBuffer
	used  int // iovs that point to memory
}

// message is the kernel's struct mmsghdr.
type message struct {
	hdr unix.Msghdr
	n   uint32
}

// Room makes p the place for the i-th datagram to receive. ancillary says that there shall be room for ancillary data, too.
func (b *Batch) Room(i int, p []byte, ancillary bool) {
	b.used = i
	b.point(i, p)
	if b.msgs[i].hdr.Control = nil; ancillary {
		b.msgs[i].hdr.Control = (*byte)(unsafe.Pointer(&b.extra[i]))
	}
	b.msgs[i].hdr.Name = (*byte)(unsafe.Pointer(&b.names[i])) // Receive sets the length
}

// Put makes p, for the given address, the i-th datagram to send. The address is not valid if the socket is connected.
// inet6 says that it is a socket of IPv6. What is sent is put in order, from 0 on.
func (b *Batch) Put(i int, p []byte, to netip.AddrPort, inet6 bool) {
	if i == 0 {
		b.used = 0
	}
	b.point(i, p)
	hdr := &b.msgs[i].hdr
	hdr.Control = nil
	hdr.SetControllen(0)
	switch {
	case !to.IsValid():
		hdr.Name, hdr.Namelen = nil, 0
		return
	case inet6:
		b.names[i] = unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: networkOrder(to.Port()), Addr: to.Addr().As16(),
			Scope_id: zoneIndex(to.Addr().Zone())}
		hdr.Namelen = unix.SizeofSockaddrInet6
	default:
		*(*unix.RawSockaddrInet4)(unsafe.Pointer(&b.names[i])) = unix.RawSockaddrInet4{Family: unix.AF_INET,
			Port: networkOrder(to.Port()), Addr: to.Addr().As4()}
		hdr.Namelen = unix.SizeofSockaddrInet4
	}
	hdr.Name = (*byte)(unsafe.Pointer(&b.names[i]))
}

// Join adds p to the i-th datagram to send, the last that was put. Attach must make the system cut them, with
// the length of the first as the segment size.
func (b *Batch) Join(i int, p []byte) {
	b.next(p)
	hdr := &b.msgs[i].hdr
	hdr.SetIovlen(int(hdr.Iovlen) + 1)
}

// Attach says what shall be done with the i-th datagram to send. to and inet6 are those of Put.
func (b *Batch) Attach(i int, a Ancillary, to netip.AddrPort, inet6 bool) {
	to4 := !inet6 || to.Addr().Is4() || to.Addr().Is4In6()
	n := writeAncillary(b.extra[i].bytes(), a, inet6, to4)
	if n == 0 {
		return
	}
	b.msgs[i].hdr.Control = (*byte)(unsafe.Pointer(&b.extra[i]))
	b.msgs[i].hdr.SetControllen(n)
}

// point makes p the memory of the i-th datagram. The kernel looks at no memory for a length of 0.
func (b *Batch) point(i int, p []byte) {
	b.msgs[i].hdr.Iov = b.next(p)
	b.msgs[i].hdr.SetIovlen(1)
}

// next points to p, behind what was pointed to before.
func (b *Batch) next(p []byte) *unix.Iovec {
	iov := &b.iovs[b.used]
	b.used++
	iov.Base = unsafe.SliceData(p)
	iov.SetLen(len(p))
	return iov
}

// Clear forgets the memory that the datagrams point to.
func (b *Batch) Clear() {
	for i := range b.used {
		b.iovs[i].Base = nil
	}
	b.used = 0
}

// Receive receives up to n datagrams, without waiting, into the rooms of the first n, and returns how many came. There
// may be an error beside some.
func (b *Batch) Receive(fd, n int) (got int, err error) {
	for i := range n {
		b.prepare(&b.msgs[i].hdr)
	}
	for {
		limit, errno := fault.Transfer(fault.RecvPackets, fd, n)
		if errno == 0 {
			got, errno = b.move(unix.SYS_RECVMMSG, fd, 0, limit, unix.MSG_DONTWAIT)
		}
		if errno != syscall.EINTR {
			happens.AfterReceive()
			return moved(got, errno, "recvmmsg")
		}
	}
}

// prepare makes a header ready for another call: the kernel has changed the lengths in it.
func (b *Batch) prepare(hdr *unix.Msghdr) {
	hdr.Namelen = unix.SizeofSockaddrInet6
	if hdr.SetControllen(0); hdr.Control != nil {
		hdr.SetControllen(ancillaryRoom)
	}
}

// Send sends the datagrams from the one with the index first to before the one with the index end, without waiting, and
// returns how many the kernel took. If it took none, the error is that of the first.
func (b *Batch) Send(fd, first, end int) (sent int, err error) {
	happens.BeforeSend()
	for {
		limit, errno := fault.Transfer(fault.SendPackets, fd, end-first)
		if errno == 0 {
			sent, errno = b.move(unix.SYS_SENDMMSG, fd, first, limit, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		}
		if errno != syscall.EINTR {
			return moved(sent, errno, "sendmmsg")
		}
	}
}

// move makes one system call for n datagrams.
func (b *Batch) move(trap uintptr, fd, first, n int, flags uintptr) (int, syscall.Errno) {
	call := unix.Syscall6
	if n <= quickBatch {
		call = unix.RawSyscall6
	}
	done, _, errno := call(trap, uintptr(fd), uintptr(unsafe.Pointer(&b.msgs[first])), uintptr(n), flags, 0, 0)
	runtime.KeepAlive(b)
	if errno != 0 {
		return 0, errno
	}
	return int(done), 0
}

// Received describes the i-th datagram that was received: how much of its room it takes, where it came from, and whether
// the room was too small.
func (b *Batch) Received(i int) (n int, from netip.AddrPort, truncated bool) {
	m := &b.msgs[i]
	switch name := &b.names[i]; {
	case m.hdr.Namelen == 0:
	case name.Family == unix.AF_INET:
		in := (*unix.RawSockaddrInet4)(unsafe.Pointer(name))
		from = netip.AddrPortFrom(netip.AddrFrom4(in.Addr), networkOrder(in.Port))
	case name.Family == unix.AF_INET6:
		from = packetAddress(name.Addr, networkOrder(name.Port), name.Scope_id)
	}
	return int(m.n), from, m.hdr.Flags&unix.MSG_TRUNC != 0
}

// Ancillary returns the ancillary data of the i-th datagram that was received.
func (b *Batch) Ancillary(i int) Ancillary {
	hdr := &b.msgs[i].hdr
	if hdr.Control == nil {
		return Ancillary{}
	}
	return parseAncillary(b.extra[i].bytes()[:min(uint64(hdr.Controllen), ancillaryRoom)])
}

// moved is result for an errno.
func moved(n int, errno syscall.Errno, call string) (int, error) {
	if errno == 0 {
		return n, nil
	}
	return result(0, errno, call)
}
