package kqueue

// This file holds the model of a kqueue on Linux. It is no kernel: it does what kqueue is believed to do, and is held
// to the recordings of real kernels in testdata.
//
// A kqueue is an epoll descriptor, whose number is what Open returns. It watches three others: an epoll for all filters
// on Read, one for all on Write, and an event descriptor that is rung for the user filter and when the kqueue ends. Two
// epolls are needed because filters are apart in a kqueue: an edge on one must not report the other again. Clear
// becomes EPOLLET, everything else is level-triggered.

import (
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Event is a change or an event.
type Event struct{ Info }

// The numbers are those of macOS.
const (
	Read  = -1
	Write = -2
	User  = -10

	Add      = 0x1
	Delete   = 0x2
	Enable   = 0x4
	Disable  = 0x8
	Oneshot  = 0x10
	Clear    = 0x20
	Receipt  = 0x40
	Dispatch = 0x80
	EOF      = 0x8000
	Error    = 0x4000

	Trigger = 0x01000000

	HaveUser    = true
	HaveReceipt = true
)

// actions are the flags that some kernels do not hand back.
const actions = Add | Delete | Enable | Disable

// NewEvents returns room for n events, or changes.
func NewEvents(n int) []Event { return make([]Event, n) }

// Set makes e the change c.
func (e *Event) Set(c Change) {
	e.Info = Info{Ident: c.Ident, Filter: c.Filter, Flags: c.Flags, Fflags: c.Fflags, Udata: c.Udata}
}

// Decode returns e, decoded.
func (e *Event) Decode() Info { return e.Info }

// noteKey is the key by which a kqueue finds a note.
type noteKey struct{ ident, filter int }

// note is one filter of one descriptor: a knote.
type note struct {
	key       noteKey
	flags     int // of the change that made it
	udata     uintptr
	disabled  bool
	missed    bool     // became ready while disabled
	file      identity // to notice that the descriptor is of another file now
	triggered bool     // of the user filter
}

// model is one kqueue.
type model struct {
	ep, epRead, epWrite, bell int // constant until destroy
	b                         Behaviour

	// mu guards the fields below. It is not held while a Wait sleeps.
	mu        sync.Mutex
	notes     map[noteKey]*note
	users     []*note // triggered, in order
	waits     int     // calls that fetched events
	waiters   int
	closed    bool // by Close
	broken    bool // by Break
	writeTurn bool // the Write filter has its turn to come first
}

var models sync.Map // from the number to its *model

// Open makes a kqueue, which is close-on-exec.
func Open() (kq int, err error) {
	q := &model{ep: -1, epRead: -1, epWrite: -1, bell: -1, b: CurrentBehaviour(), notes: map[noteKey]*note{}}
	for _, ep := range []*int{&q.ep, &q.epRead, &q.epWrite} {
		if err == nil {
			*ep, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC)
		}
	}
	if err == nil {
		q.bell, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	}
	for _, fd := range []int{q.epRead, q.epWrite, q.bell} {
		if err == nil {
			err = unix.EpollCtl(q.ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
		}
	}
	if err != nil {
		q.destroy()
		return -1, err
	}
	models.Store(q.ep, q)
	return q.ep, nil
}

// Close closes a kqueue. The kernels differ in what they do to threads in Wait; the model wakes them with EBADF, so
// that tests end. Nothing may rely on that.
func Close(kq int) error {
	v, ok := models.LoadAndDelete(kq)
	if !ok {
		return unix.EBADF
	}
	q := v.(*model)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.ring()
	if q.waiters == 0 {
		q.destroy()
	}
	return nil
}

// Break makes every call on a kqueue from now on fail with EBADF, also a Wait that is going on. The kqueue has still to
// be closed.
func Break(kq int) {
	if v, ok := models.Load(kq); ok {
		q := v.(*model)
		q.mu.Lock()
		defer q.mu.Unlock()
		q.broken = true
		q.ring()
	}
}

// Waits returns how many calls have asked for events.
func Waits(kq int) int {
	v, ok := models.Load(kq)
	if !ok {
		return 0
	}
	q := v.(*model)
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waits
}

func (q *model) destroy() {
	for _, fd := range []int{q.epRead, q.epWrite, q.bell, q.ep} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

func (q *model) ring() { _, _ = unix.Write(q.bell, []byte{1, 0, 0, 0, 0, 0, 0, 0}) }

func control(kq int, c Change) error {
	e := NewEvents(1)
	e[0].Set(c)
	_, err := call(kq, e, nil, nil)
	return err
}

func call(kq int, changes, events []Event, timeout *time.Duration) (int, error) {
	v, ok := models.Load(kq)
	if !ok {
		return -1, unix.EBADF
	}
	q := v.(*model)
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || q.broken {
		return -1, unix.EBADF
	}
	if n, err := q.applyAll(changes, events); n != 0 || err != nil || len(events) == 0 {
		return n, err
	}
	q.waits++
	if n := q.b.Chaos.InterruptEvery; n > 0 && q.waits%n == 0 {
		return -1, unix.EINTR
	}
	if n := q.b.Chaos.MaxEvents; n > 0 {
		events = events[:min(n, len(events))]
	}
	return q.wait(events, timeout)
}

// applyAll applies a list of changes. Failures are reported in events; if there is no room for one, the rest is not
// applied.
func (q *model) applyAll(changes, events []Event) (n int, err error) {
	for _, c := range changes {
		no := q.apply(&c.Info)
		switch {
		case no == 0 && c.Flags&Receipt == 0:
		case n < len(events):
			events[n] = c
			events[n].Flags |= Error
			events[n].Data = int64(no)
			n++
		case no != 0:
			return -1, no
		}
	}
	return n, nil
}

// wait returns ready events, and sleeps as long as there are none. The caller holds mu.
func (q *model) wait(events []Event, timeout *time.Duration) (int, error) {
	var deadline time.Time
	if timeout != nil {
		deadline = time.Now().Add(*timeout)
	}
	q.waiters++
	defer q.left()
	for {
		if q.closed || q.broken {
			return -1, unix.EBADF
		}
		if n := q.gather(events); n > 0 {
			return n, nil
		}
		sleep := -1
		if timeout != nil {
			left := time.Until(deadline)
			if left <= 0 {
				return 0, nil
			}
			sleep = int((left + time.Millisecond - 1) / time.Millisecond)
		}
		q.sleep(sleep)
	}
}

// left is called by a waiter that leaves, with mu held. The last waiter of a closed kqueue destroys it.
func (q *model) left() {
	q.waiters--
	if q.closed && q.waiters == 0 {
		q.destroy()
	}
}

// sleep waits, without mu, until anything may be ready. EINTR is ignored: Go's own signals cause it here, and Chaos
// shows how a poller handles one.
func (q *model) sleep(milliseconds int) {
	q.mu.Unlock()
	defer q.mu.Lock()
	var events [4]unix.EpollEvent
	_, _ = unix.EpollWait(q.ep, events[:], milliseconds)
}

// identity names an open file.
type identity struct{ dev, ino uint64 }

func identify(fd int) (identity, syscall.Errno) {
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return identity{}, unix.EBADF
	}
	return identity{stat.Dev, stat.Ino}, 0
}
