// Package sock has the few system calls that the load generator and the limit servers are made of. They are raw: they
// bypass the Go scheduler, so they cost what they cost in C. The price is that the scheduler cannot use the P (the
// GOMAXPROCS slot) of a thread that is in such a call. So a program needs one P more than it has such loops, and no
// call may last long.
package sock

import (
	"fmt"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// MaxWait is the longest time that Wait blocks. What has to stop the loop, such as a garbage collection, waits no longer
// than that.
const MaxWait = 50 * time.Millisecond

// Poll is an epoll instance. Any goroutine may call its methods; only one at a time may call Wait.
type Poll struct{ fd int }

// NewPoll returns a new instance. The caller closes it with Close.
func NewPoll() (*Poll, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	return &Poll{fd: fd}, nil
}

// Add watches fd for events, which Wait returns with tag.
func (p *Poll) Add(fd int, events uint32, tag int32) error {
	return p.control(unix.EPOLL_CTL_ADD, fd, events, tag)
}

// Modify changes the events that fd is watched for.
func (p *Poll) Modify(fd int, events uint32, tag int32) error {
	return p.control(unix.EPOLL_CTL_MOD, fd, events, tag)
}

func (p *Poll) control(op, fd int, events uint32, tag int32) error {
	if err := unix.EpollCtl(p.fd, op, fd, &unix.EpollEvent{Events: events, Fd: tag}); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// Wait stores events and returns how many. It waits at most for the given time, and never longer than MaxWait.
func (p *Poll) Wait(events []unix.EpollEvent, most time.Duration) (int, error) {
	limit := unix.NsecToTimespec(int64(max(0, min(most, MaxWait))))
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT2, uintptr(p.fd), uintptr(unsafe.Pointer(&events[0])),
		uintptr(len(events)), uintptr(unsafe.Pointer(&limit)), 0, 0)
	switch errno {
	case 0:
		return int(n), nil
	case unix.EINTR:
		return 0, nil
	}
	return 0, fmt.Errorf("epoll_pwait2: %w", errno)
}

// Close closes the instance.
func (p *Poll) Close() error { return unix.Close(p.fd) }

// Recv receives at most len(p) bytes without blocking. At the end of the stream n is 0. p must not be empty.
func Recv(fd int, p []byte) (n int, errno unix.Errno) {
	r, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))),
		uintptr(len(p)), unix.MSG_DONTWAIT, 0, 0)
	return count(r, errno), errno
}

// Send sends at most len(p) bytes without blocking. p must not be empty.
func Send(fd int, p []byte) (n int, errno unix.Errno) {
	r, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))),
		uintptr(len(p)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	return count(r, errno), errno
}

func count(r uintptr, errno unix.Errno) int {
	if errno != 0 {
		return 0
	}
	return int(r)
}

// Listen returns a non-blocking listening socket on a free port of 127.0.0.1.
func Listen() (fd int, addr netip.AddrPort, err error) {
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, addr, fmt.Errorf("socket: %w", err)
	}
	local := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	if err = unix.Bind(fd, local); err == nil {
		err = unix.Listen(fd, 4096)
	}
	var sa unix.Sockaddr
	if err == nil {
		sa, err = unix.Getsockname(fd)
	}
	if err != nil {
		unix.Close(fd)
		return -1, addr, fmt.Errorf("listen: %w", err)
	}
	return fd, netip.AddrPortFrom(netip.AddrFrom4(local.Addr), uint16(sa.(*unix.SockaddrInet4).Port)), nil
}

// Accept accepts one connection. Its socket is non-blocking, with TCP_NODELAY.
func Accept(listener int) (fd int, err error) {
	fd, _, err = unix.Accept4(listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	if err != nil {
		return -1, err
	}
	return fd, unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
}

// Dial connects to addr, from the address 127.0.0.from, and then makes the socket non-blocking. Closing the socket
// resets the connection, so that no port stays in TIME_WAIT for a minute.
func Dial(addr netip.AddrPort, from byte) (fd int, err error) {
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	set := func(level, name, value int) {
		if err == nil {
			err = unix.SetsockoptInt(fd, level, name, value)
		}
	}
	set(unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	set(unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	if err == nil {
		err = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, from}})
	}
	if err == nil {
		err = unix.Connect(fd, &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()})
	}
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("dial %v: %w", addr, err)
	}
	return fd, nil
}
