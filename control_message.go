//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// This file holds what has to be known of control messages: which descriptors are in them.

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

const sizeofFd = 4

// controlRoom is enough for the control data of one receive: on Linux 253 descriptors (SCM_MAX_FD), and with them
// credentials, a security label and a descriptor of the sender's process, for who has asked for them.
const controlRoom = 2 << 10

// eachDescriptor calls f for every descriptor in the control data oob.
func eachDescriptor(oob []byte, f func(fd int)) {
	for len(oob) >= unix.CmsgLen(0) {
		hdr, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			return
		}
		descriptorsOf(&hdr, data, f)
		oob = rest
	}
}

// descriptorsOf calls f for those in the data of one control message.
func descriptorsOf(hdr *unix.Cmsghdr, data []byte, f func(fd int)) {
	if !isRights(hdr) && !isProcess(hdr) {
		return
	}
	for ; len(data) >= sizeofFd; data = data[sizeofFd:] {
		if fd := int(int32(binary.NativeEndian.Uint32(data))); fd >= 0 { // else an errno in its place
			f(fd)
		}
	}
}

// closeControl closes every descriptor in the control data oob.
func closeControl(oob []byte) { eachDescriptor(oob, closeDescriptor) }

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
