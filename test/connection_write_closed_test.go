//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package test

// Writing when the connection is closed, by this side or by the peer, before or meanwhile.

import (
	"errors"
	"net"
	"sync"
	"syscall"
	"testing"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

// writeCalls are the methods of Writer that can fail, and Write.
var writeCalls = []struct {
	name string
	do   func(conn netpoll.Connection) error
}{
	{"Malloc", func(c netpoll.Connection) error { _, err := c.Writer().Malloc(8); return err }},
	{"MallocAck", func(c netpoll.Connection) error { return c.Writer().MallocAck(0) }},
	{"WriteBinary", func(c netpoll.Connection) error { _, err := c.Writer().WriteBinary(make([]byte, 8)); return err }},
	{"WriteString", func(c netpoll.Connection) error { _, err := c.Writer().WriteString("text"); return err }},
	{"WriteByte", func(c netpoll.Connection) error { return c.Writer().WriteByte('x') }},
	{"WriteDirect", func(c netpoll.Connection) error { return c.Writer().WriteDirect([]byte("text"), 0) }},
	{"Append", func(c netpoll.Connection) error {
		lb := netpoll.NewLinkBuffer()
		if err := mallocString(lb, "text"); err != nil {
			return err
		}
		return c.Writer().Append(lb)
	}},
	{"Flush", func(c netpoll.Connection) error { return c.Writer().Flush() }},
	{"Write", func(c netpoll.Connection) error { _, err := c.Write([]byte("text")); return err }},
}

// isClosedHere reports whether err is that of a use after Close on this side, by all its names.
func isClosedHere(err error) bool {
	return errors.Is(err, netpoll.ErrConnClosed) && errors.Is(err, net.ErrClosed) && !errors.Is(err, netpoll.ErrEOF)
}

// Behaviour 4.7: after Close every method returns ErrConnClosed and none panics.
func TestEveryWriteMethodAfterCloseReturnsErrConnClosed(t *testing.T) {
	for name, prepare := range map[string]func(conn netpoll.Connection) error{
		"fresh":            func(netpoll.Connection) error { return nil },
		"unflushed output": func(c netpoll.Connection) error { return mallocString(c.Writer(), "pending") },
		"flushed output": func(c netpoll.Connection) error {
			return errors.Join(mallocString(c.Writer(), "gone"), c.Writer().Flush())
		},
	} {
		t.Run(name, func(t *testing.T) {
			conn, _ := testnet.Dialed(t, "tcp")
			require.NoError(t, prepare(conn))
			require.NoError(t, conn.Close())
			for _, call := range writeCalls {
				require.NotPanics(t, func() {
					err := call.do(conn)
					require.True(t, isClosedHere(err), "%s returned %v", call.name, err)
				}, call.name)
			}
			require.NotPanics(t, func() { require.Zero(t, conn.Writer().MallocLen()) })
		})
	}
}

// Behaviour 4.7: none panics, whatever races with Close, and what loses says ErrConnClosed.
func TestWritingThatRacesWithCloseSaysErrConnClosed(t *testing.T) {
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		for range 30 {
			raceWritingWithClose(t, network)
		}
	})
}

func raceWritingWithClose(t *testing.T, network string) {
	conn, peer := testnet.Dialed(t, network)
	go func() { // take the output, until the end
		buf := make([]byte, 64<<10)
		for err := error(nil); err == nil; {
			_, err = peer.Read(buf)
		}
	}()
	begun := make(chan struct{})
	failure := make(chan error, 2)
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			if i == 10 {
				close(begun)
			}
			for _, call := range writeCalls {
				if err := call.do(conn); err != nil {
					if i < 10 {
						close(begun)
					}
					failure <- err
					return
				}
			}
		}
	})
	testkit.Receive(t, begun)
	require.NoError(t, conn.Close())
	testkit.Within(t, testkit.Timeout, wg.Wait)
	err := testkit.Receive(t, failure)
	require.True(t, isClosedHere(err), "the writer that lost against Close got %v", err)
}

// Behaviour 4.7: a Flush or Write that waits for room when Close comes says ErrConnClosed.
func TestBlockedWriterThatLosesAgainstCloseSaysErrConnClosed(t *testing.T) {
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		for name, do := range map[string]func(conn netpoll.Connection) error{
			"Flush": func(c netpoll.Connection) error { return c.Writer().Flush() },
			"Write": func(c netpoll.Connection) error { _, err := c.Write(nil); return err },
		} {
			t.Run(name, func(t *testing.T) {
				conn, _ := narrowPair(t, network)
				queue(t, conn, testkit.Pattern(muchOutput))
				result := testkit.Blocked(t, func() error { return do(conn) })
				require.NoError(t, conn.Close())
				err := testkit.Receive(t, result)
				require.True(t, isClosedHere(err), "returned %v", err)
			})
		}
	})
}

// Behaviour 2.2: the errno of a write to a peer that is gone stays visible through the wrapping.
func TestFlushToVanishedPeerShowsErrno(t *testing.T) {
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		conn, peer := testnet.Dialed(t, network)
		testkit.Send(t, peer, "x")
		testnet.Buffered(t, conn, 1)
		if tcp, ok := peer.(*net.TCPConn); ok {
			require.NoError(t, tcp.SetLinger(0))
		}
		require.NoError(t, peer.Close())
		testkit.Eventually(t, func() bool { return !conn.IsActive() })
		queue(t, conn, []byte("to nobody"))
		err := conn.Writer().Flush()
		require.Error(t, err)
		require.True(t, errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET), "Flush returned %v", err)
		require.ErrorContains(t, err, "when flush")
		require.ErrorIs(t, err, netpoll.ErrConnClosed)
	})
}

// Behaviour 4.5: writer methods called by two goroutines at once give the second ErrConcurrentAccess or wait for their
// turn, but never corrupt what is sent: every byte that a successful call wrote arrives.
func TestConcurrentWriterMethodsCorruptNothing(t *testing.T) {
	conn, peer := testnet.Dialed(t, "tcp")
	const writers, rounds = 4, 300
	var written [writers]int
	var wg sync.WaitGroup
	for id := range writers {
		wg.Go(func() {
			p := make([]byte, 100)
			for i := range p {
				p[i] = byte(id)
			}
			for range rounds {
				n, err := conn.Writer().WriteBinary(p)
				written[id] += n
				if err != nil && !errors.Is(err, netpoll.ErrConcurrentAccess) {
					t.Errorf("WriteBinary: %v", err)
				}
			}
		})
	}
	testkit.Within(t, testkit.Timeout, wg.Wait)
	require.NoError(t, conn.Writer().Flush())
	require.NoError(t, conn.Close())
	var got [writers]int
	for _, b := range drainToEnd(t, peer) {
		require.Less(t, int(b), writers)
		got[b]++
	}
	require.Equal(t, written, got)
}
