package main

// This file holds the limit: a thread that makes system calls for batches and nothing else. It has no goroutine to
// start, no poller, no types for users and no checks.

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/bench/internal/datagram"
)

const (
	limitBatch = 64
	limitSize  = 2048 // of the largest datagram, in bytes
)

// message is struct mmsghdr of Linux.
type message struct {
	hdr unix.Msghdr
	len uint32
}

// limitServer is what one thread works with.
type limitServer struct {
	fd       int
	messages [limitBatch]message
	vectors  [limitBatch]unix.Iovec
	peers    [limitBatch]unix.RawSockaddrInet4
	data     [limitBatch][limitSize]byte
}

func overLimit() (string, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", fmt.Errorf("socket: %w", err)
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, datagram.Buffer)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return "", fmt.Errorf("bind: %w", err)
	}
	addr, err := unix.Getsockname(fd)
	if err != nil {
		return "", fmt.Errorf("getsockname: %w", err)
	}
	go (&limitServer{fd: fd}).run()
	return fmt.Sprint("127.0.0.1:", addr.(*unix.SockaddrInet4).Port), nil
}

func (s *limitServer) run() {
	runtime.LockOSThread()
	for {
		n, err := s.call(unix.SYS_RECVMMSG, s.room(), unix.MSG_WAITFORONE)
		if err != nil {
			panic(fmt.Sprint("recvmmsg: ", err))
		}
		if k := s.answers(n); k > 0 {
			_, _ = s.call(unix.SYS_SENDMMSG, k, 0)
		}
	}
}

// room makes all messages ready to be received, and returns how many there are.
func (s *limitServer) room() int {
	for i := range s.messages {
		s.vectors[i] = unix.Iovec{Base: &s.data[i][0], Len: limitSize}
		s.messages[i].hdr = unix.Msghdr{
			Name: (*byte)(unsafe.Pointer(&s.peers[i])), Namelen: unix.SizeofSockaddrInet4, Iov: &s.vectors[i], Iovlen: 1,
		}
	}
	return limitBatch
}

// answers moves those of the first n messages that are sent back to the front, and returns how many these are.
func (s *limitServer) answers(n int) (k int) {
	for i := range n {
		m := &s.messages[i]
		if answer(s.data[i][:m.len]) != nil {
			m.hdr.Iov.Len = uint64(m.len)
			s.messages[k].hdr = m.hdr
			k++
		}
	}
	return k
}

// call makes a system call for the first n messages, and returns how many of them it was done for.
func (s *limitServer) call(number uintptr, n, flags int) (int, error) {
	k, _, errno := unix.Syscall6(number, uintptr(s.fd), uintptr(unsafe.Pointer(&s.messages[0])), uintptr(n), uintptr(flags), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(k), nil
}
