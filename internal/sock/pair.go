//go:build linux || dragonfly || freebsd || netbsd || openbsd

package sock

// This file holds the making of socket pairs on the systems that take their flags with the call.

import "golang.org/x/sys/unix"

func newPair() ([2]int, error) {
	return unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
}
