//go:build darwin || dragonfly || freebsd

package kqueue

import "golang.org/x/sys/unix"

// The filter that a program triggers itself.
const (
	HaveUser    = true
	HaveReceipt = true
	User        = unix.EVFILT_USER
	Trigger     = unix.NOTE_TRIGGER
)
