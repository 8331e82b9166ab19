//go:build !kqsim

package alarm

// This file holds the alarm as a timer of the kernel. The Go runtime gets its expiry as a readiness event, so no thread
// has to wait with a timeout.

import (
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/fault"
)

type timerfd struct {
	ring func() time.Duration
	fd   int
	file *os.File // fd, known to the Go runtime's own poller
	raw  syscall.RawConn

	mu     sync.Mutex // guards closed
	closed bool
}

// New makes an alarm of a timer of the kernel, or of the Go runtime where there are no more descriptors.
func New(ring func() (again time.Duration)) Alarm {
	t, err := newTimerfd(ring)
	if err != nil { // there are no more descriptors
		return newTimer(ring)
	}
	go t.run()
	return t
}

func newTimerfd(ring func() (again time.Duration)) (*timerfd, error) {
	if errno := fault.Check(fault.Timer); errno != 0 {
		return nil, os.NewSyscallError("timerfd_create", errno)
	}
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("timerfd_create", err)
	}
	t := &timerfd{ring: ring, fd: fd, file: os.NewFile(uintptr(fd), "timer")}
	err = t.file.SetReadDeadline(time.Time{}) // fails unless the runtime polls it
	if err == nil {
		t.raw, err = t.file.SyscallConn()
	}
	if err != nil {
		t.file.Close()
		return nil, err
	}
	return t, nil
}

// run ends with Close.
func (t *timerfd) run() { _ = t.raw.Read(t.expired) }

// expired is called when the timer is readable. It always returns false, so that raw.Read goes on.
func (t *timerfd) expired(uintptr) (done bool) {
	var count [8]byte
	if n, _ := unix.Read(t.fd, count[:]); n == len(count) {
		if again := t.ring(); again > 0 {
			t.Set(again)
		}
	}
	return false
}

// Set cannot fail: the descriptor is a timer, and the time is one. After Close it does nothing.
func (t *timerfd) Set(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed { // the number of the descriptor may belong to another file by now
		return
	}
	_ = unix.TimerfdSettime(t.fd, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}, nil)
}

func (t *timerfd) Close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.file.Close() // waits for expired, which may be about to call Set
}
