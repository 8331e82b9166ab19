//go:build darwin || dragonfly || freebsd || netbsd || openbsd || (linux && kqsim)

package netpoll

// This file holds the kqueue selector: see poll.go for what its methods promise. With the build tag kqsim it is used on
// Linux too, where a model stands in for the kernel; that is for tests.
//
// A kqueue knows two filters of a descriptor, one for reading and one for writing, each with a token of its own, and
// changes one at a time. Reading is level-triggered, room to send is asked for while a sender waits for it, as with
// epoll. Of an event only its filter, the token, the end of the stream and the error are looked at: which other flags
// come back differs from system to system.

import (
	"errors"
	"os"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/kqueue"
)

// maxEvents is how many events one look fetches.
const maxEvents = 256

// A token has to fit into a pointer of the kernel, beside a bit for the way of watching for the peer's end. So 32-bit
// systems have few bits for the generation. They are enough to distinguish an event from those of the last 4095 uses of
// the slot: no slot is used again before all events of a wait have been looked at.
const (
	indexBits = 31 - 12*(1-wide)
	genBits   = 32 - 20*(1-wide)
	wide      = ^uint(0) >> 63 // 1 on 64-bit systems

	maxGen uint32 = 1<<genBits - 1
)

var errTooMany = errors.New("netpoll: too many descriptors for one poller")

// packToken returns the kernel's form of a token. endOnly marks a filter whose data is of no interest.
func packToken(token uint64, endOnly bool) (uintptr, error) {
	index, gen := token&(1<<32-1), token>>32
	if index>>indexBits != 0 {
		return 0, errTooMany
	}
	packed := gen<<(indexBits+1) | index<<1
	if endOnly {
		packed |= 1
	}
	return uintptr(packed), nil
}

func unpackToken(udata uintptr) (token uint64, endOnly bool) {
	packed := uint64(udata)
	return makeToken(uint32(packed>>1&(1<<indexBits-1)), uint32(packed>>(indexBits+1))), packed&1 != 0
}

type selector struct {
	kq      int
	release runtime.Cleanup // closes the descriptors of a selector that failed, when nothing names them any more
	wake    wakeup

	// The events that a wait has fetched. These belong to the leader.
	events  []kqueue.Event
	first   int // the first event of the last look
	handed  int // how many that look has handed out
	pending int // how many behind those have not been looked at

	// mu guards closed: a number must not be used after its descriptor was closed, because it may belong to another
	// file then.
	mu     sync.Mutex
	closed bool
}

func newSelector() (*selector, error) {
	kq, err := kqueue.Open()
	if err != nil {
		return nil, os.NewSyscallError("kqueue", err)
	}
	wake, err := newWakeup(kq)
	if err != nil {
		_ = kqueue.Close(kq)
		return nil, err
	}
	s := &selector{kq: kq, wake: wake, events: kqueue.NewEvents(maxEvents)}
	s.release = runtime.AddCleanup(s, func(w wakeup) { closeQueue(kq, w) }, wake)
	return s, nil
}

func closeQueue(kq int, w wakeup) {
	_ = kqueue.Close(kq)
	w.close()
}

func (s *selector) add(fd int, token uint64, interest pollEvent) error {
	err := s.modify(fd, token, 0, interest)
	if err != nil {
		s.remove(fd, interest|evUnsure)
	}
	return err
}

// evUnsure stands for a change that failed half way: what is watched is not known.
const evUnsure = evDetached

// modify changes the filters that differ. Whether a filter is level-triggered is decided when it is added, so it is
// deleted first if that is to change. Adding looks at the condition again: nothing is lost in between.
func (s *selector) modify(fd int, token uint64, was, interest pollEvent) error {
	if was&evUnsure != 0 {
		s.remove(fd, was)
		was = 0
	}
	if before, after := was&(evRead|evHup), interest&(evRead|evHup); before != after {
		if before != 0 {
			s.forget(fd, kqueue.Read)
		}
		if after != 0 {
			if err := s.read(fd, token, after&evRead == 0); err != nil {
				return err
			}
		}
	}
	switch change := was ^ interest; {
	case change&evWrite == 0:
	case interest&evWrite == 0:
		s.forget(fd, kqueue.Write)
	default:
		udata, err := packToken(token, false)
		if err != nil {
			return err
		}
		return s.change(kqueue.Change{Ident: fd, Filter: kqueue.Write, Flags: kqueue.Add, Udata: udata})
	}
	return nil
}

// read watches for input and the end. With endOnly it watches for the end alone: edge-triggered, because both the end
// and input that is not received would be reported without pause. The method event then drops reports of data.
func (s *selector) read(fd int, token uint64, endOnly bool) error {
	udata, err := packToken(token, endOnly)
	if err != nil {
		return err
	}
	flags := kqueue.Add
	if endOnly {
		flags |= kqueue.Clear
	}
	return s.change(kqueue.Change{Ident: fd, Filter: kqueue.Read, Flags: flags, Udata: udata})
}

// remove cannot fail in a way that matters: a filter that is not there has nothing to report.
func (s *selector) remove(fd int, was pollEvent) {
	if was&(evRead|evHup|evUnsure) != 0 {
		s.forget(fd, kqueue.Read)
	}
	if was&(evWrite|evUnsure) != 0 {
		s.forget(fd, kqueue.Write)
	}
}

func (s *selector) forget(fd, filter int) {
	_ = s.change(kqueue.Change{Ident: fd, Filter: filter, Flags: kqueue.Delete})
}

// change applies one change. It makes no lists of changes: systems differ in what a change that fails does to the rest
// of a list.
func (s *selector) change(c kqueue.Change) error {
	for {
		err := kqueue.Control(s.kq, c)
		runtime.KeepAlive(s)
		switch err {
		case nil:
			return nil
		case syscall.EINTR:
		case syscall.EPIPE:
			return nil // the peer of a pipe is gone, which is reported all the same
		default:
			return os.NewSyscallError("kevent", err)
		}
	}
}

// look returns events that park has fetched; park waits again only when look has returned all of them. look does not ask
// the kernel: the next wait reports at once what is still ready, because all events that are acted upon are
// level-triggered.
func (s *selector) look(most int) (n int, err error) {
	s.first += s.handed
	s.handed = min(most, s.pending)
	s.pending -= s.handed
	return s.handed, nil
}

// kept reports whether there are events that park has fetched and look has not returned.
func (s *selector) kept() bool { return s.pending > 0 }

func (s *selector) event(i int) (token uint64, ev pollEvent) {
	e := s.events[s.first+i].Decode()
	if s.wake.drain(&e) {
		return 0, 0 // the token of no slot
	}
	token, endOnly := unpackToken(e.Udata)
	ended := e.Flags&kqueue.EOF != 0
	switch {
	case e.Flags&kqueue.Error != 0:
		return token, evErr
	case e.Filter == kqueue.Write:
		ev = evWrite
	case ended:
		ev = evRead | evHup
	case !endOnly:
		ev = evRead
	}
	if ended && e.Fflags != 0 {
		ev |= evErr
	}
	if ev == 0 {
		return 0, 0 // data that was not asked for
	}
	return token, ev
}

// park waits in the kernel, and holds a thread meanwhile. The Go runtime's poller, on which the epoll selector waits,
// is a kqueue here and watches everything for writing too; a kqueue refuses to be watched for that.
func (s *selector) park(turn func() (stop bool)) error {
	for !turn() {
		n, err := kqueue.Wait(s.kq, s.events, nil)
		switch err {
		case nil:
			s.first, s.handed, s.pending = 0, 0, n
		case syscall.EINTR, syscall.ETIMEDOUT: // the latter is seen on macOS, without a timeout
		default:
			return os.NewSyscallError("kevent", err)
		}
	}
	return nil
}

// interrupt makes the wait return, or the next one if there is no wait: the wake-up stays until it is fetched.
func (s *selector) interrupt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.wake.ring(s)
	}
}

// close is called by the last leader, so no goroutine waits. Closing a kqueue under a waiting thread wakes it on
// some systems only.
func (s *selector) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	s.release.Stop()
	closeQueue(s.kq, s.wake)
}

// wakeup makes a wait return: by the user filter of the kqueue, or by a pipe where there is none.
type wakeup struct {
	pipe bool
	r, w int // the ends of the pipe
}

// newWakeup tries the user filter first: that the system has a name for it does not say that its kernel has it.
func newWakeup(kq int) (wakeup, error) {
	if kqueue.HaveUser {
		err := kqueue.Control(kq, kqueue.Change{Filter: kqueue.User, Flags: kqueue.Add | kqueue.Clear})
		if err == nil {
			return wakeup{}, nil
		}
	}
	r, w, err := wakePipe()
	if err != nil {
		return wakeup{}, err
	}
	wake := wakeup{pipe: true, r: r, w: w}
	if err := kqueue.Control(kq, kqueue.Change{Ident: r, Filter: kqueue.Read, Flags: kqueue.Add}); err != nil {
		wake.close()
		return wakeup{}, os.NewSyscallError("kevent", err)
	}
	return wake, nil
}

// wakePipe makes a pipe that is close-on-exec, without the call that not all of these systems have.
func wakePipe() (r, w int, err error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	var ends [2]int
	if err := unix.Pipe(ends[:]); err != nil {
		return -1, -1, os.NewSyscallError("pipe", err)
	}
	for _, fd := range ends {
		unix.CloseOnExec(fd)
		if e := unix.SetNonblock(fd, true); e != nil {
			err = os.NewSyscallError("fcntl", e)
		}
	}
	if err != nil {
		wakeup{pipe: true, r: ends[0], w: ends[1]}.close()
		return -1, -1, err
	}
	return ends[0], ends[1], nil
}

// ring leaves a wake-up. The change that triggers the filter says no more than that: with Clear in it FreeBSD would
// take the trigger back, and it would replace the token by its own.
func (w wakeup) ring(s *selector) {
	if w.pipe {
		_, _ = unix.Write(w.w, []byte{0}) // a full pipe holds a wake-up already
		return
	}
	_ = s.change(kqueue.Change{Filter: kqueue.User, Fflags: kqueue.Trigger})
}

// drain takes the wake-up if e is one. The turn that it causes comes after that, so a later wake-up is not lost.
func (w wakeup) drain(e *kqueue.Info) bool {
	if !w.pipe {
		return e.Filter == kqueue.User
	}
	if e.Ident != w.r || e.Filter != kqueue.Read {
		return false
	}
	var b [64]byte
	for {
		if n, err := unix.Read(w.r, b[:]); err != syscall.EINTR && n < len(b) {
			return true
		}
	}
}

func (w wakeup) close() {
	if w.pipe {
		_ = unix.Close(w.r)
		_ = unix.Close(w.w)
	}
}
