//go:build netbsd || openbsd

package kqueue

// NetBSD has the user filter since 10.0, OpenBSD later still, and x/sys knows it on neither. A poller has to be woken
// through a pipe there.
const (
	HaveUser    = false
	HaveReceipt = false
	User        = 1 << 20 // no filter at all
	Trigger     = 0
)
