//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package sock

// This file holds receiving a message with its control data, as macOS and the BSDs have it.

import (
	"sync"

	"golang.org/x/sys/unix"
)

const (
	// PlainFlags are the flags of recvmsg without control data.
	PlainFlags = 0
	// messageFlags make sending never wait; the descriptor is non-blocking anyway.
	messageFlags = unix.MSG_DONTWAIT
	// TellsSender: a receive from a stream does not return the peer's address.
	TellsSender = false
)

var controlPool = sync.Pool{New: func() any { return new([controlRoom]byte) }}

// receiveMessage is one attempt of RecvMessage. If mayHold is false it receives nothing, because these systems cannot
// tell whether control data comes next. These systems end a receive before the first byte that comes with control data.
func receiveMessage(fd int, p []byte, mayHold bool) (n int, c Control, err error) {
	if !mayHold {
		return 0, Control{}, ErrHeldBack
	}
	room := controlPool.Get().(*[controlRoom]byte)
	defer controlPool.Put(room)
	n, oobn, flags, _, err := unix.Recvmsg(fd, p, room[:], receiveFlags)
	if err != nil {
		return n, Control{}, err
	}
	c = received(room[:oobn], flags)
	closeOnExec(c.Data)
	return n, c, nil
}

// isProcess returns false: these systems have no such message.
func isProcess(*unix.Cmsghdr) bool { return false }
