//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package kqueue

// This file holds the real thing: the kernel's kqueue.

import (
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Event is a change or an event as the kernel lays it out.
type Event unix.Kevent_t

// The filters and flags. The numbers differ between the systems.
const (
	Read  = unix.EVFILT_READ
	Write = unix.EVFILT_WRITE

	Add      = unix.EV_ADD
	Delete   = unix.EV_DELETE
	Enable   = unix.EV_ENABLE
	Disable  = unix.EV_DISABLE
	Oneshot  = unix.EV_ONESHOT
	Clear    = unix.EV_CLEAR
	EOF      = unix.EV_EOF
	Error    = unix.EV_ERROR
	Receipt  = 0x40 // x/sys has no name for it on NetBSD; it is 0x40 wherever there is one
	Dispatch = 0x80 // likewise
)

const eventSize = unsafe.Sizeof(Event{})

// eventWords is how many words hold an Event. Memory for events is made of plain words: the garbage collector and the
// growing of stacks must not look at Udata, which has a pointer's type on most systems and holds a number.
const eventWords = (eventSize + 7) / 8

// NewEvents returns room for n events, or changes.
func NewEvents(n int) []Event {
	words := make([]uint64, (uintptr(n)*eventSize+7)/8)
	return unsafe.Slice((*Event)(unsafe.Pointer(unsafe.SliceData(words))), n)
}

// Set makes e the change c.
func (e *Event) Set(c Change) {
	unix.SetKevent((*unix.Kevent_t)(e), c.Ident, c.Filter, c.Flags)
	e.Fflags = c.Fflags
	e.Data = 0
	*(*uintptr)(unsafe.Pointer(&e.Udata)) = c.Udata
}

// Decode returns e, decoded.
func (e *Event) Decode() Info {
	return Info{
		Ident: int(e.Ident), Filter: int(e.Filter), Flags: int(e.Flags), Fflags: uint32(e.Fflags), Data: int64(e.Data),
		Udata: *(*uintptr)(unsafe.Pointer(&e.Udata)),
	}
}

// Open makes a kqueue, which is close-on-exec.
func Open() (kq int, err error) {
	syscall.ForkLock.RLock() // no system that x/sys knows takes the flag with the call
	defer syscall.ForkLock.RUnlock()
	kq, err = unix.Kqueue()
	if err == nil {
		unix.CloseOnExec(kq)
	}
	return kq, err
}

// Close closes a kqueue. No thread may be in Wait: whether that would be woken differs between the systems.
func Close(kq int) error { return unix.Close(kq) }

func control(kq int, c Change) error {
	var words [eventWords]uint64
	e := (*Event)(unsafe.Pointer(&words))
	e.Set(c)
	_, err := call(kq, unsafe.Slice(e, 1), nil, nil)
	return err
}

func call(kq int, changes, events []Event, timeout *time.Duration) (int, error) {
	var ts *unix.Timespec
	if timeout != nil {
		t := unix.NsecToTimespec(timeout.Nanoseconds())
		ts = &t
	}
	return unix.Kevent(kq, kernelEvents(changes), kernelEvents(events), ts)
}

func kernelEvents(list []Event) []unix.Kevent_t {
	return unsafe.Slice((*unix.Kevent_t)(unsafe.SliceData(list)), len(list))
}
