package kqueue

// This file holds how the model applies a change.

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// apply applies one change. The caller holds mu.
func (q *model) apply(c *Info) syscall.Errno {
	switch c.Filter {
	case Read, Write:
		return q.applyToFile(c)
	case User:
		if q.b.Quirks.NoUser {
			return unix.EINVAL
		}
		return q.applyToUser(c)
	}
	return unix.EINVAL
}

func (q *model) applyToFile(c *Info) syscall.Errno {
	key := noteKey{c.Ident, c.Filter}
	n := q.notes[key]
	file, no := identify(c.Ident)
	if no != 0 {
		delete(q.notes, key)
		return no
	}
	if n != nil && n.file != file { // the descriptor was closed, and the kernel had dropped the note
		delete(q.notes, key)
		n = nil
	}
	if n == nil && c.Flags&Add == 0 {
		return unix.ENOENT
	}
	if c.Flags&Delete != 0 {
		if n == nil {
			return unix.ENOENT
		}
		q.disarm(n)
		delete(q.notes, key)
		return 0
	}
	if n == nil {
		n = &note{key: key, flags: c.Flags, file: file}
		q.notes[key] = n
	}
	if c.Flags&Add != 0 || !q.b.Quirks.UdataOnlyOnAdd {
		n.udata = c.Udata
	}
	if c.Flags&Disable != 0 {
		q.disable(n)
		return 0
	}
	if c.Flags&Enable != 0 && n.disabled {
		blind := q.b.Quirks.EnableNoReeval && c.Flags&Add == 0 && !n.missed && q.isEdge(n)
		n.disabled, n.missed = false, n.missed && blind
		if blind {
			return 0
		}
	}
	if n.disabled {
		return 0
	}
	return q.arm(n)
}

func (q *model) applyToUser(c *Info) syscall.Errno {
	key := noteKey{c.Ident, c.Filter}
	n := q.notes[key]
	if n == nil && c.Flags&Add == 0 {
		return unix.ENOENT
	}
	if c.Flags&Delete != 0 {
		if n == nil {
			return unix.ENOENT
		}
		n.triggered = false
		delete(q.notes, key)
		return 0
	}
	fresh := n == nil
	if fresh {
		n = &note{key: key, flags: c.Flags}
		q.notes[key] = n
	}
	if c.Flags&Add != 0 || q.b.Quirks.UserTriggerUdata {
		n.udata = c.Udata
	}
	if c.Flags&Disable != 0 {
		n.disabled = true
	}
	if c.Flags&Enable != 0 {
		n.disabled = false
	}
	if q.b.Quirks.UserClearCancels && c.Flags&Clear != 0 && !fresh {
		n.triggered = false
		return 0
	}
	if c.Fflags&Trigger != 0 && !n.triggered {
		n.triggered = true
		q.users = append(q.users, n)
		q.ring()
	}
	return 0
}

// epollOf returns the epoll that holds the notes of a filter.
func (q *model) epollOf(filter int) int {
	if filter == Read {
		return q.epRead
	}
	return q.epWrite
}

func (q *model) epollBits(n *note) (bits uint32) {
	bits = unix.EPOLLOUT
	if n.key.filter == Read {
		bits = unix.EPOLLIN | unix.EPOLLRDHUP
	}
	if n.flags&Clear != 0 || q.b.Quirks.EnableNoReeval && n.flags&Dispatch != 0 {
		bits |= unix.EPOLLET
	}
	return bits
}

func (q *model) isEdge(n *note) bool { return q.epollBits(n)&unix.EPOLLET != 0 }

// arm looks at the condition, and watches it from then on, as all kernels do on Add and Enable.
func (q *model) arm(n *note) syscall.Errno {
	ev := unix.EpollEvent{Events: q.epollBits(n), Fd: int32(n.key.ident)}
	ep := q.epollOf(n.key.filter)
	err := unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, n.key.ident, &ev)
	if err == unix.EEXIST {
		err = unix.EpollCtl(ep, unix.EPOLL_CTL_MOD, n.key.ident, &ev)
	}
	no, _ := err.(syscall.Errno)
	return no
}

func (q *model) disarm(n *note) {
	_ = unix.EpollCtl(q.epollOf(n.key.filter), unix.EPOLL_CTL_DEL, n.key.ident, &unix.EpollEvent{})
}

func (q *model) disable(n *note) {
	n.disabled = true
	if !q.b.Quirks.EnableNoReeval || !q.isEdge(n) { // else go on looking for news
		q.disarm(n)
	}
}
