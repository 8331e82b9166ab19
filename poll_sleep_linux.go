//go:build !netconn && !interleave

package netpoll

// This file holds where a worker sleeps on Linux.

import (
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/wait"
)

// sleeper is where a worker sleeps: in a read of a descriptor that the Go runtime polls. A processor that has nothing else
// to do then runs the worker. A goroutine that is woken by a channel is the next one of the processor that woke it, which
// is about to run handlers; others take it from there late.
type sleeper struct {
	file *os.File // an eventfd
	raw  syscall.RawConn
	fd   int

	plain *wait.Waiter // in its place where there are no descriptors left
}

// prepare must come before each sleep, and before the wake that ends it.
func (s *sleeper) prepare() {
	if s.file != nil || s.plain != nil {
		return
	}
	if err := s.open(); err != nil {
		s.plain = wait.New()
	}
}

func (s *sleeper) open() error {
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return err
	}
	file := os.NewFile(uintptr(fd), "eventfd")
	err = file.SetReadDeadline(time.Time{}) // fails unless the runtime polls it
	raw, rawErr := file.SyscallConn()
	if err != nil || rawErr != nil {
		file.Close()
		return os.ErrInvalid
	}
	s.fd, s.file, s.raw = fd, file, raw
	return nil
}

// wake ends one sleep, also one that has not begun.
func (s *sleeper) wake() {
	if s.plain != nil {
		s.plain.Wake()
		return
	}
	one := uint64(1)
	_, _, _ = unix.RawSyscall(unix.SYS_WRITE, uintptr(s.fd), uintptr(unsafe.Pointer(&one)), 8) // of 8 bytes: it has room
}

// sleep returns after wake.
func (s *sleeper) sleep() {
	if s.plain != nil {
		s.plain.Sleep()
		return
	}
	_ = s.raw.Read(func(fd uintptr) bool {
		var n uint64
		_, _, errno := unix.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&n)), 8)
		return errno != syscall.EAGAIN
	})
}

func (s *sleeper) close() {
	if s.file != nil {
		s.file.Close()
	}
}
