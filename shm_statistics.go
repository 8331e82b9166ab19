package netpoll

// This file holds the statistics of shared memory.

import (
	"errors"
	"sync/atomic"

	"github.com/cloudwego/netpoll/internal/shmring"
)

// ShmStatistics counts what the listeners and dialers that have it in their [ShmConfig] do. The zero value is ready to use; it
// must not be copied. Its methods may be called by any goroutine at any time.
type ShmStatistics struct {
	open, memory, shared, sent, received, wakeUps atomic.Int64

	sockets, refused [shmReasons]atomic.Int64
}

// ShmCounts is what a [ShmStatistics] has counted. Its numbers are not of one moment.
type ShmCounts struct {
	Open   int64 // connections over shared memory that have not ended
	Memory int64 // bytes of this side's regions of these: the rings, and a page for each
	Shared int64 // connections that both sides have agreed to share memory for, ever

	Sent     int64 // bytes that were put into rings
	Received int64 // bytes that were taken out of rings
	WakeUps  int64 // wake-ups that were sent, each a system call

	Sockets ShmReasons // connections that use the socket instead, ever, and why
	Refused ShmReasons // connections that could not be agreed on, ever, and why
}

// ShmReasons counts connections by the reason why there is no shared memory for them.
type ShmReasons struct {
	System  int64 // this system gave no memory
	Limit   int64 // MaxMemory was reached
	User    int64 // AllowUser did not allow it
	Version int64 // the peer has another version
	Peer    int64 // the peer has asked for the socket, or has refused
	Other   int64 // the peer spoke another protocol, was silent or wrong, or went away
}

// shmReason is one of the fields of ShmReasons.
type shmReason int

const (
	shmBySystem shmReason = iota
	shmByLimit
	shmByUser
	shmByVersion
	shmByPeer
	shmByOther
	shmReasons
)

// Counts returns what has been counted.
func (s *ShmStatistics) Counts() ShmCounts {
	return ShmCounts{
		Open: s.open.Load(), Memory: s.memory.Load(), Shared: s.shared.Load(),
		Sent: s.sent.Load(), Received: s.received.Load(), WakeUps: s.wakeUps.Load(),
		Sockets: reasonsOf(&s.sockets), Refused: reasonsOf(&s.refused),
	}
}

func reasonsOf(n *[shmReasons]atomic.Int64) ShmReasons {
	return ShmReasons{System: n[shmBySystem].Load(), Limit: n[shmByLimit].Load(), User: n[shmByUser].Load(),
		Version: n[shmByVersion].Load(), Peer: n[shmByPeer].Load(), Other: n[shmByOther].Load()}
}

// Why a side gives no memory.
var (
	errShmMemory = errors.New("the limit of shared memory is reached")
	errShmUser   = errors.New("the user may not connect")
	errShmSystem = errors.New("no memory to share")
)

// refusedFor counts a connection that could not be agreed on because of err. s may be nil, here and below.
func (s *ShmStatistics) refusedFor(err error) {
	if s == nil {
		return
	}
	reason := shmByOther
	switch {
	case errors.Is(err, errShmSystem):
		reason = shmBySystem
	case errors.Is(err, errShmMemory):
		reason = shmByLimit
	case errors.Is(err, errShmUser):
		reason = shmByUser
	case errors.Is(err, shmring.ErrVersion):
		reason = shmByVersion
	case errors.Is(err, errShmRefused):
		reason = shmByPeer
	}
	s.refused[reason].Add(1)
}

// onSocket counts a connection that uses the socket.
func (s *ShmStatistics) onSocket(reason shmReason) {
	if s != nil {
		s.sockets[reason].Add(1)
	}
}
