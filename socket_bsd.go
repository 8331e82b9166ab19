//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// This file holds the system calls on sockets that differ between systems, as macOS and the BSDs have them. Names are
// fetched through package syscall: it reads what each kernel writes, and is the one that knows accept4 of all that have
// it.

import (
	"encoding/binary"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/fault"
)

// acceptSocket takes a connection that waits at the listening socket fd. The new descriptor is non-blocking and
// close-on-exec. The error is a bare errno.
func acceptSocket(fd int, peer *sockaddr) (int, error) {
	for {
		if errno := fault.Check(fault.Accept); errno == syscall.EINTR {
			continue
		} else if errno != 0 {
			return -1, errno
		}
		nfd, name, err := acceptCloseOnExec(fd)
		if err == nil {
			peer.set(name)
			return nfd, nil
		}
		if err != error(syscall.EINTR) {
			return -1, err
		}
	}
}

func getSocketName(fd int, a *sockaddr) error { return a.from(syscall.Getsockname(fd)) }

// getPeerName may fail for a connected socket that both sides have shut, with EINVAL on macOS.
func getPeerName(fd int, a *sockaddr) error { return a.from(syscall.Getpeername(fd)) }

func (a *sockaddr) from(name syscall.Sockaddr, err error) error {
	if err == nil {
		a.set(name)
	}
	return err
}

// set lays out name as the kernel does. Names of other families become no name.
func (a *sockaddr) set(name syscall.Sockaddr) {
	*a = sockaddr{}
	switch name := name.(type) {
	case *syscall.SockaddrInet4:
		in := (*unix.RawSockaddrInet4)(unsafe.Pointer(&a.raw))
		in.Family, in.Addr, in.Port = unix.AF_INET, name.Addr, wirePort(name.Port)
		a.size = unix.SizeofSockaddrInet4
	case *syscall.SockaddrInet6:
		in := (*unix.RawSockaddrInet6)(unsafe.Pointer(&a.raw))
		in.Family, in.Addr, in.Port, in.Scope_id = unix.AF_INET6, name.Addr, wirePort(name.Port), name.ZoneId
		a.size = unix.SizeofSockaddrInet6
	case *syscall.SockaddrUnix:
		in := (*unix.RawSockaddrUnix)(unsafe.Pointer(&a.raw))
		in.Family = unix.AF_UNIX
		path := unsafe.Slice((*byte)(unsafe.Pointer(&in.Path[0])), len(in.Path))
		a.size = uint32(unsafe.Offsetof(in.Path)) + uint32(copy(path, name.Name))
	}
}

// wirePort lays out a port as it goes over the wire.
func wirePort(port int) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], uint16(port))
	return binary.NativeEndian.Uint16(b[:])
}

// unnamedSocket is what package net calls a Unix socket without a name.
const unnamedSocket = ""
