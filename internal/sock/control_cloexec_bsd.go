//go:build dragonfly || freebsd || netbsd || openbsd

package sock

// This file holds how descriptors arrive close-on-exec on the BSDs: the kernel makes them so.

import "golang.org/x/sys/unix"

const receiveFlags = unix.MSG_DONTWAIT | unix.MSG_CMSG_CLOEXEC

func closeOnExec([]byte) {}
