//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// A receive that is under way while a look past the input buffer begins.

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/sock"
)

// holdPatience is how long these tests wait for what must happen.
const holdPatience = 20 * time.Second

// receivingConnection returns a connection whose poller is about to receive.
func receivingConnection(t *testing.T) (c *connection, peer int, goOn chan<- struct{}) {
	ends, err := sock.Pair()
	require.NoError(t, err)
	t.Cleanup(func() { _ = unix.Close(ends[1]) })
	require.NoError(t, unix.SetNonblock(ends[0], true))
	c = newSocketConnection(socketInfo{fd: ends[0]})
	entered, gate := make(chan struct{}), make(chan struct{})
	c.common.up = &hookedInput{c, func() {
		entered <- struct{}{}
		<-gate
	}}
	require.NoError(t, c.start(causeDetach))
	t.Cleanup(func() { c.Close() })
	_, err = unix.Write(ends[1], []byte("x"))
	require.NoError(t, err)
	<-entered
	go func() { // later ones go through
		for range entered {
		}
	}()
	t.Cleanup(func() { close(entered) })
	return c, ends[1], gate
}

// waitsFor returns when a goroutine holds the input of c back.
func waitsFor(t *testing.T, c *connection) {
	require.Eventually(t, func() bool { return c.raw.held() && c.reading.Waiting() },
		holdPatience, time.Millisecond)
}

// Behaviour 9.7: bytes that the poller takes from the socket after the look at the buffer are not hidden.
func TestRawReadWaitsForTheReceiveThatIsUnderWay(t *testing.T) {
	c, _, goOn := receivingConnection(t)
	raw, err := c.SyscallConn()
	require.NoError(t, err)
	called, result := false, make(chan error, 1)
	go func() {
		result <- raw.Read(func(uintptr) bool {
			called = true
			return true
		})
	}()
	waitsFor(t, c)
	close(goOn)
	require.ErrorIs(t, <-result, ErrBufferedInput)
	require.False(t, called)
	got, err := c.ReadString(1)
	require.NoError(t, err)
	require.Equal(t, "x", got)
}

func TestRawReadWaitsForAReceiveWithinItsDeadline(t *testing.T) {
	c, _, goOn := receivingConnection(t)
	defer close(goOn)
	raw, err := c.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, c.SetReadTimeout(10*time.Millisecond))
	require.ErrorIs(t, raw.Read(func(uintptr) bool { t.Error("called"); return true }), ErrReadTimeout)
}

// Behaviour 9.10: it waits for the receive that is under way, and then says what that found.
func TestIsHealthyForReuseWaitsForTheReceiveThatIsUnderWay(t *testing.T) {
	for name, want := range map[string]bool{"finds input": false, "finds nothing": true} {
		t.Run(name, func(t *testing.T) {
			c, _, goOn := receivingConnection(t)
			if want { // another goroutine took it
				_, err := unix.Read(c.Fd(), make([]byte, 1))
				require.NoError(t, err)
			}
			result := make(chan bool, 1)
			go func() { result <- c.IsHealthyForReuse(holdPatience) }()
			waitsFor(t, c)
			close(goOn)
			require.Equal(t, want, <-result)
		})
	}
}

// Behaviour 9.10: the time to wait for it is limited.
func TestIsHealthyForReuseGivesUpWaiting(t *testing.T) {
	c, _, goOn := receivingConnection(t)
	require.False(t, c.IsHealthyForReuse(10*time.Millisecond))
	close(goOn)
	got, err := c.ReadString(1)
	require.NoError(t, err)
	require.Equal(t, "x", got, "it took something")
	require.True(t, c.IsHealthyForReuse(holdPatience))
}
