package sock

// This file holds receiving a message with its control data, as Linux has it.

import (
	"runtime"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// PlainFlags are the flags of recvmsg without control data.
	PlainFlags = unix.MSG_CMSG_CLOEXEC
	// messageFlags make sending never wait.
	messageFlags = unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL
	// TellsSender: a receive from a stream returns the peer's address.
	TellsSender = true
)

var controlPool = sync.Pool{New: func() any { return new([controlRoom]byte) }}

// receiveMessage is one attempt of RecvMessage.
//
// One receive may take several of the pieces that were sent, up to and including the first that has control data, and
// does not say where that one began. So peekPieces looks before: if the whole pieces that fit into p have no control
// data, just these are taken. They are copied twice, the second time from the processor's cache.
func receiveMessage(fd int, p []byte, mayHold bool) (n int, c Control, err error) {
	n, control, errno := peekPieces(fd, p)
	switch {
	case errno == unix.EFAULT || errno == unix.ENOSYS: // the first piece is longer than p, or there is no way to peek
		n = len(p)
	case errno != 0:
		return 0, Control{}, errno
	case !control:
		if n > 0 {
			n, err = readNow(fd, p[:n])
		}
		return n, Control{}, err
	case n > 1:
		// The last of these pieces has control data. Asked for one byte less, the kernel shows the pieces before it, or
		// none.
		if before, control, errno := peekPieces(fd, p[:n-1]); errno == 0 && !control && before > 0 {
			n, err = readNow(fd, p[:before])
			return n, Control{}, err
		}
	}
	if !mayHold && (errno == 0 || controlAhead(fd, p[:1])) {
		return 0, Control{}, ErrHeldBack
	}
	return receiveControl(fd, p[:n])
}

// receiveControl is recvmsg with room for all possible control data.
func receiveControl(fd int, p []byte) (n int, c Control, err error) {
	room := controlPool.Get().(*[controlRoom]byte)
	defer controlPool.Put(room)
	n, oobn, flags, _, err := unix.Recvmsg(fd, p, room[:], unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return n, Control{}, err
	}
	return n, received(room[:oobn], flags), nil
}

// peekPieces looks, without taking anything, at the pieces that were sent and fit into p as a whole: how many bytes they
// have, and whether the last one comes with control data. The errno is EFAULT if not even the first one fits. The
// kernel copies piece by piece, and stops at one that it cannot copy: peekPieces asks for one more byte than p has, at
// an address without memory.
func peekPieces(fd int, p []byte) (n int, control bool, errno unix.Errno) {
	iovs := [2]unix.Iovec{{Base: unsafe.SliceData(p)}, {Base: nil}}
	iovs[0].SetLen(len(p))
	iovs[1].SetLen(1)
	return peekInto(fd, iovs[:], p)
}

// controlAhead reports whether control data comes with the next bytes, or may come with later ones.
func controlAhead(fd int, p []byte) bool {
	iovs := [1]unix.Iovec{{Base: unsafe.SliceData(p)}}
	iovs[0].SetLen(len(p))
	_, control, errno := peekInto(fd, iovs[:], p)
	return control || errno != 0
}

func peekInto(fd int, iovs []unix.Iovec, p []byte) (n int, control bool, errno unix.Errno) {
	msg := unix.Msghdr{Iov: unsafe.SliceData(iovs)}
	msg.SetIovlen(len(iovs))
	call := unix.Syscall
	if len(p) <= maxQuick {
		call = unix.RawSyscall
	}
	r, _, errno := call(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&msg)), unix.MSG_PEEK|unix.MSG_DONTWAIT)
	runtime.KeepAlive(iovs)
	runtime.KeepAlive(p)
	if errno != 0 {
		return 0, false, errno
	}
	return int(r), msg.Flags&unix.MSG_CTRUNC != 0, 0
}

// isProcess reports whether a control message hands over a descriptor of the sender's process.
func isProcess(hdr *unix.Cmsghdr) bool {
	return hdr.Level == unix.SOL_SOCKET && hdr.Type == unix.SCM_PIDFD
}
