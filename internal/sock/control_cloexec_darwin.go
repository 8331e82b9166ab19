package sock

// This file holds how descriptors become close-on-exec on macOS, whose kernel does not make them so.

import "golang.org/x/sys/unix"

const receiveFlags = unix.MSG_DONTWAIT

// closeOnExec marks the descriptors in oob. A program that is started at that very moment may still inherit them.
func closeOnExec(oob []byte) {
	EachDescriptor(oob, unix.CloseOnExec)
}
