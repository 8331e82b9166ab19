// Package sock has the system calls on sockets, and on other descriptors of byte streams: receiving and sending,
// accepting, addresses, options, control messages, splicing. It repeats interrupted calls, lets tests make calls fail
// (see package fault), and hides the differences between systems. It does not know pollers and connections.
//
// Functions that move bytes never wait. Their error is nil, [ErrWouldBlock], or an [os.SyscallError] with the errno;
// the few that have another say so. The error for a feature that a system does not have is [Unsupported].
package sock

import (
	"errors"
	"time"
)

var (
	// ErrWouldBlock: the call would have to wait, for input or for room.
	ErrWouldBlock = errors.New("sock: would block")
	// ErrHeldBack: the next bytes come with control data, and the caller has no place for it.
	ErrHeldBack = errors.New("sock: control data is held")
)

// Unsupported is the error for a feature that a system, or a descriptor of this kind, does not have. It names the
// feature, and Is [errors.ErrUnsupported].
type Unsupported string

func (u Unsupported) Error() string {
	return "sock: " + string(u) + ": " + errors.ErrUnsupported.Error()
}

// Is reports whether target is errors.ErrUnsupported.
func (u Unsupported) Is(target error) bool { return target == errors.ErrUnsupported }

// MaxTransfer limits one system call; some kernels refuse more than 2 GiB, and whole pages keep the rest aligned.
const MaxTransfer = 1 << 30

// WholeSeconds rounds up, to at most the longest time that the kernel takes.
func WholeSeconds(d time.Duration) int {
	const most = 32767 // of TCP_KEEPIDLE
	if d > most*time.Second {
		return most
	}
	return int((d + time.Second - 1) / time.Second)
}
