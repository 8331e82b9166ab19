//go:build linux && !netconn

package netpoll

// Output that the poller cannot send, for another reason than that the connection is gone.

import (
	"errors"
	"io"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// The connection is alive, but what its peer waits for is lost. Both sides learn of it, and a handler's connection is
// freed when the peer has answered the end with its own.
func TestPeerLearnsThatPendingOutputIsLost(t *testing.T) {
	for _, errno := range []syscall.Errno{unix.ENOBUFS, unix.ENOMEM} {
		t.Run(errno.Error(), func(t *testing.T) {
			quietLog(t)
			h := newTestPoller(t)
			r := &fakeRing{size: 64}
			fl := newFleet(t, h, 8, "tcp")
			victim, peer := fl.conns[3], fl.peers[3]
			h.rings("always", func() (ring, error) { return r, nil })
			h.do(func() { r.script = refusing(victim.Fd(), errno) })
			fl.tell(t)
			fl.answered(t, 3)
			require.NoError(t, peer.SetReadDeadline(time.Now().Add(20*time.Second)))
			rest, err := io.ReadAll(peer)
			require.NoError(t, err, "the stream has not ended")
			require.Empty(t, rest)
			if err := victim.Flush(); !errors.Is(err, ErrConnClosed) {
				require.ErrorIs(t, err, errno)
			}
			require.NoError(t, peer.Close())
			released(t, victim)
		})
	}
}

// refusing fails the sends of one connection.
func refusing(fd int, errno syscall.Errno) ringScript {
	return func(o operation) int32 {
		if o.send && o.fd == fd {
			return -int32(errno)
		}
		return o.plain()
	}
}
