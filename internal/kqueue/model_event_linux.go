package kqueue

// This file holds the reports of the model: which notes are ready, and the content of their events.

import (
	"slices"

	"golang.org/x/sys/unix"
)

// gather collects ready notes into events. The caller holds mu, as for everything in this file.
func (q *model) gather(events []Event) (n int) {
	var count [8]byte
	_, _ = unix.Read(q.bell, count[:])
	n = q.gatherUsers(events)
	// Taking turns, neither filter starves where there is little room.
	order := [2]int{Read, Write}
	if q.writeTurn = !q.writeTurn; q.writeTurn {
		order = [2]int{Write, Read}
	}
	for _, filter := range order {
		n += q.gatherFiles(filter, events[n:])
	}
	if every := q.b.Chaos.SpuriousEvery; every > 0 && q.waits%every == 0 && n < len(events) {
		n += q.spurious(&events[n])
	}
	if len(q.users) > 0 {
		q.ring() // for events that found no room
	}
	if q.b.Chaos.Reverse {
		slices.Reverse(events[:n])
	}
	return n
}

func (q *model) gatherFiles(filter int, events []Event) (n int) {
	if len(events) == 0 {
		return 0
	}
	ep := q.epollOf(filter)
	var ready [128]unix.EpollEvent
	count, err := unix.EpollWait(ep, ready[:min(len(events), len(ready))], 0)
	if err != nil {
		return 0
	}
	for _, e := range ready[:count] {
		k := q.notes[noteKey{int(e.Fd), filter}]
		switch {
		case k != nil && k.disabled && q.isEdge(k):
			k.missed = true
		case k == nil || k.disabled:
			_ = unix.EpollCtl(ep, unix.EPOLL_CTL_DEL, int(e.Fd), &unix.EpollEvent{})
		case q.fill(k, &events[n]):
			q.delivered(k)
			n++
		}
	}
	return n
}

func (q *model) gatherUsers(events []Event) (n int) {
	var keep []*note
	for _, k := range q.users {
		switch {
		case !k.triggered || q.notes[k.key] != k:
			continue
		case k.disabled || n == len(events):
			keep = append(keep, k)
			continue
		}
		events[n].Info = q.event(k)
		n++
		if k.flags&(Clear|Oneshot|Dispatch) != 0 {
			k.triggered = false
		} else {
			keep = append(keep, k) // a level stays
		}
		q.delivered(k)
	}
	q.users = keep
	return n
}

// spurious reports a note whose condition may not hold.
func (q *model) spurious(e *Event) int {
	for _, k := range q.notes { // in no order, as it should be
		if k.disabled || k.key.filter == User {
			continue
		}
		if file, no := identify(k.key.ident); no != 0 || file != k.file {
			continue
		}
		if !q.fill(k, e) {
			e.Info = q.event(k)
		}
		q.delivered(k)
		return 1
	}
	return 0
}

// delivered carries out the flags of a note after an event.
func (q *model) delivered(k *note) {
	switch {
	case k.flags&Oneshot != 0:
		if k.key.filter != User {
			q.disarm(k)
		}
		delete(q.notes, k.key)
	case k.flags&Dispatch != 0 && k.key.filter == User:
		k.disabled = true
	case k.flags&Dispatch != 0:
		q.disable(k)
	}
}

// event is the event of a note, before fill.
func (q *model) event(k *note) Info {
	flags := k.flags
	if q.b.Quirks.StripActionFlags {
		flags &^= actions
	}
	return Info{Ident: k.key.ident, Filter: k.key.filter, Flags: flags, Udata: k.udata}
}

// fill writes the current report of a note into e, or returns false if its condition holds no more: a kqueue looks
// again when it delivers.
func (q *model) fill(k *note, e *Event) bool {
	fd := k.key.ident
	if file, no := identify(fd); no != 0 || file != k.file {
		q.disarm(k)
		delete(q.notes, k.key)
		return false
	}
	want := int16(unix.POLLOUT)
	if k.key.filter == Read {
		want = unix.POLLIN | unix.POLLRDHUP
	}
	fds := []unix.PollFd{{Fd: int32(fd), Events: want}}
	_, _ = unix.Poll(fds, 0)
	got := fds[0].Revents
	if got&(want|unix.POLLHUP|unix.POLLERR) == 0 {
		return false
	}
	e.Info = q.event(k)
	if k.key.filter == Read {
		fillRead(&e.Info, fd, got)
	} else {
		fillWrite(&e.Info, fd, got)
	}
	if got&unix.POLLERR != 0 {
		fillError(&e.Info, fd)
	}
	return true
}

// tcpInfo returns nil if fd is not TCP.
func tcpInfo(fd int) *unix.TCPInfo {
	tcp, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return nil
	}
	return tcp
}

// fillError guesses the error: asking for it would take it away.
func fillError(e *Info, fd int) {
	tcp := tcpInfo(fd)
	if tcp == nil {
		return
	}
	e.Flags |= EOF
	e.Fflags = uint32(unix.ECONNRESET)
	if tcp.Snd_wnd == 0 && tcp.Segs_in <= 1 { // there never was a connection
		e.Fflags = uint32(unix.ECONNREFUSED)
	}
}

func fillRead(e *Info, fd int, got int16) {
	if accepts, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err == nil && accepts != 0 {
		e.Data = 1
		if tcp := tcpInfo(fd); tcp != nil {
			e.Data = int64(tcp.Unacked) // how many wait, for a listener
		}
		return
	}
	if n, err := unix.IoctlGetInt(fd, unix.TIOCINQ); err == nil {
		e.Data = int64(n)
	}
	if got&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0 {
		e.Flags |= EOF
	}
}

// The states of TCP, as TCP_INFO numbers them, in which the own side has been shut down.
const (
	finWait1 = 4
	finWait2 = 5
	lastAck  = 9
	closing  = 11
)

func fillWrite(e *Info, fd int, got int16) {
	e.Data = 1
	room, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF)
	used, err2 := unix.IoctlGetInt(fd, unix.TIOCOUTQ)
	if err == nil && err2 == nil {
		e.Data = max(1, int64(room/2-used))
	}
	if got&(unix.POLLHUP|unix.POLLERR) != 0 {
		e.Flags |= EOF
	}
	if tcp := tcpInfo(fd); tcp != nil {
		switch tcp.State {
		case finWait1, finWait2, lastAck, closing:
			e.Flags |= EOF
		}
	}
}
