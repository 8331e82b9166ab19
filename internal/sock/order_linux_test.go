package sock

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/uring"
)

// Bytes that a ring sends and a plain call receives, or the other way round, order memory, as bytes of one kind do. The
// race detector fails this test if they do not.
func TestBytesBetweenARingAndPlainCallsOrderMemory(t *testing.T) {
	ring, err := uring.New(4)
	require.NoError(t, err)
	defer ring.Close()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	defer unix.Close(fds[0])
	defer unix.Close(fds[1])
	const rounds = 100
	shared, done := 0, make(chan struct{})
	go func() { // the plain side
		defer close(done)
		p := make([]byte, 1)
		for range rounds {
			for n := 0; n == 0; n, _ = Recv(fds[1], p) {
				_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fds[1]), Events: unix.POLLIN}}, -1)
			}
			shared++
			v := Vector{N: 1}
			v.Bufs[0] = p
			_, _ = Sendv(fds[1], &v)
		}
	}()
	p := make([]byte, 1)
	for i := range rounds {
		shared++
		ring.Send(fds[0], p, 0)
		require.NoError(t, ring.Submit(func(_ uint64, res int32) { require.EqualValues(t, 1, res) }))
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fds[0]), Events: unix.POLLIN}}, -1)
		ring.Recv(fds[0], p, 0)
		require.NoError(t, ring.Submit(func(_ uint64, res int32) { require.EqualValues(t, 1, res) }))
		require.Equal(t, 2*(i+1), shared)
	}
	<-done
}
