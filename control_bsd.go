//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// This file holds receiving a message with its control data, as macOS and the BSDs have it.

import (
	"sync"

	"golang.org/x/sys/unix"
)

const (
	// plainFlags are what recvmsg returns beside bytes alone.
	plainFlags = 0
	// messageFlags make sending wait for nothing; the descriptor does not anyway.
	messageFlags = unix.MSG_DONTWAIT
	// tellsSender: a receive from a stream does not tell the peer's address.
	tellsSender = false
)

var controlPool = sync.Pool{New: func() any { return new([controlRoom]byte) }}

// receiveMessage receives into p, and control data if the bytes come with some. If that may not be, by mayHold, nothing
// is received, and the error is errHeldBack: nobody tells what comes next. These systems end a receive before the first
// byte that comes with control data.
func receiveMessage(fd int, p []byte, mayHold bool) (n int, h *heldControl, err error) {
	if !mayHold {
		return 0, nil, errHeldBack
	}
	room := controlPool.Get().(*[controlRoom]byte)
	defer controlPool.Put(room)
	n, oobn, flags, _, err := unix.Recvmsg(fd, p, room[:], receiveFlags)
	if err != nil || oobn == 0 && flags&unix.MSG_CTRUNC == 0 {
		return n, nil, err
	}
	h = &heldControl{oob: append([]byte(nil), room[:oobn]...), flags: flags}
	closeOnExec(h.oob)
	return n, h, nil
}

// isProcess returns false: there is no such thing.
func isProcess(*unix.Cmsghdr) bool { return false }
