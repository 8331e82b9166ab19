//go:build !kqsim && !netconn

package netpoll

// This file holds the epoll selector: see poll.go for what its methods promise.

import (
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/fault"
)

// maxEvents is how many events one look fetches.
const maxEvents = 256

// maxGen: epoll gives back 64 bits, and a token uses all of them.
const maxGen uint32 = 1<<32 - 1

type selector struct {
	epfd int
	file *os.File // epfd, known to the Go runtime's own poller
	raw  syscall.RawConn

	// turn and stopped are park's; callback is takeTurn, made once. Only the leader uses these.
	turn     func() (stop bool)
	stopped  bool
	callback func(uintptr) bool

	// events is filled by look; only the leader uses it.
	events [maxEvents]unix.EpollEvent
}

// newSelector makes the epoll descriptor itself pollable: waiting for it parks a goroutine, not a thread, and the Go
// scheduler learns of an event in the same place as of everything else it waits for.
func newSelector() (*selector, error) {
	if errno := fault.Check(fault.EpollCreate); errno != 0 {
		return nil, os.NewSyscallError("epoll_create1", errno)
	}
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(epfd, true); err != nil {
		unix.Close(epfd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	s := &selector{epfd: epfd, file: os.NewFile(uintptr(epfd), "epoll")}
	if err := s.file.SetReadDeadline(time.Time{}); err != nil { // fails unless the runtime polls it
		s.file.Close()
		return nil, err
	}
	if s.raw, err = s.file.SyscallConn(); err != nil {
		s.file.Close()
		return nil, err
	}
	s.callback = s.takeTurn
	return s, nil
}

func (s *selector) add(fd int, token uint64, interest pollEvent) error {
	if errno := fault.Check(fault.EpollCtlAdd); errno != 0 {
		return os.NewSyscallError("epoll_ctl", errno)
	}
	return os.NewSyscallError("epoll_ctl", s.ctl(unix.EPOLL_CTL_ADD, fd, token, interest))
}

func (s *selector) modify(fd int, token uint64, _, interest pollEvent) error {
	if errno := fault.Check(fault.EpollCtlMod); errno != 0 {
		return os.NewSyscallError("epoll_ctl", errno)
	}
	return os.NewSyscallError("epoll_ctl", s.ctl(unix.EPOLL_CTL_MOD, fd, token, interest))
}

// remove cannot fail in a way that matters: a descriptor the queue does not know has nothing to report.
func (s *selector) remove(fd int, _ pollEvent) {
	_ = unix.EpollCtl(s.epfd, unix.EPOLL_CTL_DEL, fd, nil)
}

func (s *selector) ctl(op, fd int, token uint64, interest pollEvent) error {
	ev := unix.EpollEvent{Events: epollBits(interest), Fd: int32(uint32(token)), Pad: int32(uint32(token >> 32))}
	return unix.EpollCtl(s.epfd, op, fd, &ev)
}

// epollBits translates interest. Reading is level-triggered: a short read shows that the socket is drained without one
// more call that finds nothing. A descriptor that is not read from is watched edge-triggered, because the peer's end
// stays true for ever and would be reported without pause.
func epollBits(interest pollEvent) (bits uint32) {
	if interest&evRead != 0 {
		bits |= unix.EPOLLIN
	} else {
		bits |= unix.EPOLLET
	}
	if interest&evWrite != 0 {
		bits |= unix.EPOLLOUT
	}
	if interest&evHup != 0 {
		bits |= unix.EPOLLRDHUP
	}
	if interest&evOnce != 0 {
		bits |= unix.EPOLLONESHOT
	}
	if interest&evEdge != 0 {
		bits |= unix.EPOLLET
	}
	return bits
}

// look never blocks in the kernel, so it goes there without telling the scheduler.
func (s *selector) look(most int) (int, error) {
	for {
		n, errno := uintptr(0), fault.Check(fault.EpollWait)
		if errno == 0 {
			n, _, errno = unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(s.epfd),
				uintptr(unsafe.Pointer(&s.events[0])), uintptr(most), 0, 0, 0)
		}
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, os.NewSyscallError("epoll_wait", errno)
		}
	}
}

// kept reports false: what look has left is in the kernel.
func (s *selector) kept() bool { return false }

func (s *selector) event(i int) (token uint64, ev pollEvent) {
	e := &s.events[i]
	token = uint64(uint32(e.Pad))<<32 | uint64(uint32(e.Fd))
	if e.Events&unix.EPOLLIN != 0 {
		ev |= evRead
	}
	if e.Events&unix.EPOLLOUT != 0 {
		ev |= evWrite
	}
	if e.Events&(unix.EPOLLRDHUP|unix.EPOLLHUP) != 0 {
		ev |= evHup
	}
	if e.Events&(unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		ev |= evErr
	}
	return token, ev
}

func (s *selector) park(turn func() (stop bool)) error {
	s.turn, s.stopped = turn, false
	for {
		err := s.raw.Read(s.callback)
		if s.stopped {
			return nil
		}
		if err != nil && !os.IsTimeout(err) {
			return err
		}
		if err := s.file.SetReadDeadline(time.Time{}); err != nil {
			return err
		}
	}
}

// takeTurn is called by the RawConn; if it returns false the goroutine is parked until there are events.
func (s *selector) takeTurn(uintptr) bool {
	s.stopped = s.turn()
	return s.stopped
}

// interrupt lets the wait run into a deadline.
func (s *selector) interrupt() {
	_ = s.file.SetReadDeadline(time.Unix(1, 0)) // fails only when the selector is closed: no goroutine waits then
}

func (s *selector) close() { s.file.Close() }
