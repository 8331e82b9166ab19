//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package sock

// This file holds messages with control data, over Unix sockets, and finds the descriptors in it. How a message is
// received is in control_linux.go and control_bsd.go.

import (
	"encoding/binary"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/fault"
	"github.com/cloudwego/netpoll/internal/happens"
)

const sizeofFd = 4

// controlRoom is enough for the control data of one receive: on Linux 253 descriptors (SCM_MAX_FD), and with them
// credentials, a security label and a descriptor of the sender's process, which a program may ask for.
const controlRoom = 2 << 10

// Control is control data that was received. The descriptors in it are open and close-on-exec, and belong to the owner of
// the Control.
type Control struct {
	Data  []byte
	Flags int // those of recvmsg
}

// RecvMessage receives into p, and control data if the bytes come with some. If mayHold is false and they do, the error
// is ErrHeldBack. Bytes from before the control data are received in a call of their own.
func RecvMessage(fd int, p []byte, mayHold bool) (n int, c Control, err error) {
	for {
		part, errno := fault.Cut(fault.Recv, fd, p)
		if errno != 0 {
			err = errno
		} else {
			n, c, err = receiveMessage(fd, part, mayHold)
		}
		if err != syscall.EINTR {
			break
		}
	}
	happens.AfterReceive()
	if err == ErrHeldBack {
		return 0, Control{}, err
	}
	n, err = result(n, err, "recvmsg")
	return n, c, err
}

// SendMessage sends b, or its first part, and all of oob with it.
func SendMessage(fd int, b, oob []byte) (n int, err error) {
	happens.BeforeSend()
	for {
		if errno := fault.Check(fault.Send); errno != 0 {
			err = errno
		} else {
			n, err = unix.SendmsgN(fd, b, oob, nil, messageFlags)
		}
		if err != syscall.EINTR {
			break
		}
	}
	return result(n, err, "sendmsg")
}

// received returns the control data that recvmsg has left in room.
func received(room []byte, flags int) Control {
	if len(room) == 0 && flags&unix.MSG_CTRUNC == 0 {
		return Control{}
	}
	return Control{Data: append([]byte(nil), room...), Flags: flags}
}

// Empty reports whether no control data came, and none was lost.
func (c *Control) Empty() bool { return len(c.Data) == 0 && c.Flags&unix.MSG_CTRUNC == 0 }

// Close closes every descriptor in c.
func (c *Control) Close() { EachDescriptor(c.Data, closeDescriptor) }

// Lost returns the mark that stands for c when c has been closed.
func (c *Control) Lost() Control { return Control{Flags: c.Flags | unix.MSG_CTRUNC} }

// HandOver copies c into oob as the kernel would: whole messages, and as many descriptors as fit. It closes the others.
func (c *Control) HandOver(oob []byte) (n, flags int) {
	if len(c.Data) <= len(oob) {
		return copy(oob, c.Data), c.Flags
	}
	flags = c.Flags
	for rest := c.Data; len(rest) >= unix.CmsgLen(0); {
		hdr, data, remainder, err := unix.ParseOneSocketControlMessage(rest)
		if err != nil {
			break
		}
		rest = remainder
		fits := len(data)
		if room := len(oob) - n - unix.CmsgLen(0); room < fits {
			flags |= unix.MSG_CTRUNC
			fits = 0
			if isRights(&hdr) {
				fits = max(room, 0) / sizeofFd * sizeofFd
			}
			descriptorsOf(&hdr, data[fits:], closeDescriptor)
		}
		if fits == 0 && len(data) > 0 {
			continue
		}
		n += putControl(oob[n:], hdr, data[:fits])
	}
	return n, flags
}

// EachDescriptor calls f for every descriptor in the control data oob.
func EachDescriptor(oob []byte, f func(fd int)) {
	for len(oob) >= unix.CmsgLen(0) {
		hdr, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			return
		}
		descriptorsOf(&hdr, data, f)
		oob = rest
	}
}

// descriptorsOf calls f for every descriptor in the data of one control message.
func descriptorsOf(hdr *unix.Cmsghdr, data []byte, f func(fd int)) {
	if !isRights(hdr) && !isProcess(hdr) {
		return
	}
	for ; len(data) >= sizeofFd; data = data[sizeofFd:] {
		if fd := int(int32(binary.NativeEndian.Uint32(data))); fd >= 0 { // otherwise it is an errno
			f(fd)
		}
	}
}

func closeDescriptor(fd int) { _ = unix.Close(fd) }

// isRights reports whether a control message hands over descriptors.
func isRights(hdr *unix.Cmsghdr) bool {
	return hdr.Level == unix.SOL_SOCKET && hdr.Type == unix.SCM_RIGHTS
}

// putControl writes a control message with data into p, which has room for it, and returns how much of p it takes.
func putControl(p []byte, hdr unix.Cmsghdr, data []byte) int {
	hdr.SetLen(unix.CmsgLen(len(data)))
	head := (*[unix.SizeofCmsghdr]byte)(unsafe.Pointer(&hdr))[:]
	copy(p, head)
	copy(p[unix.CmsgLen(0):], data)
	return min(unix.CmsgSpace(len(data)), len(p))
}
