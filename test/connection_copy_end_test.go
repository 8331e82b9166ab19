//go:build linux

package test

// How copying ends: with a deadline, with either side, in order or not; and what goes on beside it.

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

// copyResult is what io.Copy has returned.
type copyResult struct {
	n   int64
	err error
}

func copying(dst io.Writer, src io.Reader) <-chan copyResult {
	done := make(chan copyResult, 1)
	go func() {
		n, err := io.Copy(dst, src)
		done <- copyResult{n, err}
	}()
	return done
}

// flood writes to peer until that fails.
func flood(peer net.Conn) {
	go func() {
		for p := testkit.Pattern(256 << 10); ; {
			if _, err := peer.Write(p); err != nil {
				return
			}
		}
	}()
}

// countInput reads from peer until that fails, and counts.
func countInput(peer net.Conn) *atomic.Int64 {
	n := new(atomic.Int64)
	go func() {
		for p := make([]byte, 256<<10); ; {
			k, err := peer.Read(p)
			n.Add(int64(k))
			if err != nil {
				return
			}
		}
	}()
	return n
}

// copyPairs runs a test with a connection of this library on one side of a copy at least.
func copyPairs(t *testing.T, f func(t *testing.T, src, dst copyEnd)) {
	for _, c := range [][2]string{
		{"netpoll tcp", "netpoll tcp"}, {"netpoll tcp", "net tcp"}, {"net tcp", "netpoll tcp"},
		{"netpoll unix", "netpoll tcp"}, {"netpoll tcp", "netpoll unix"},
	} {
		t.Run("from "+c[0]+" to "+c[1], func(t *testing.T) { f(t, makeEnd(t, c[0]), makeEnd(t, c[1])) })
	}
}

// Behaviour 3.11, 9.8: a deadline from another goroutine ends a copy, although input comes all the time.
func TestReadDeadlineEndsCopyOfAFlood(t *testing.T) {
	copyPairs(t, func(t *testing.T, src, dst copyEnd) {
		flood(src.peer)
		passed := countInput(dst.peer)
		done := copying(dst.conn, src.conn)
		testkit.Eventually(t, func() bool { return passed.Load() > 4<<20 })
		require.NoError(t, src.conn.SetReadDeadline(time.Now()))
		result := testkit.Receive(t, done)
		require.ErrorIs(t, result.err, os.ErrDeadlineExceeded)
		testkit.Eventually(t, func() bool { return passed.Load() == result.n })
	})
}

// Behaviour 3.11, 9.8: a deadline that has passed ends a copy before it has begun, buffered input or not.
func TestPassedReadDeadlineEndsCopyOfBufferedInput(t *testing.T) {
	src, dst := makeEnd(t, "netpoll tcp"), makeEnd(t, "netpoll tcp")
	testkit.Send(t, src.peer, "something")
	testnet.Buffered(t, src.conn.(netpoll.Connection), len("something"))
	require.NoError(t, src.conn.SetReadDeadline(time.Now().Add(-time.Second)))
	result := testkit.Receive(t, copying(dst.conn, src.conn))
	if sendsFiles {
		require.ErrorIs(t, result.err, os.ErrDeadlineExceeded)
		require.Zero(t, result.n)
	}
	require.NoError(t, src.conn.SetReadDeadline(time.Time{}))
	require.NoError(t, src.peer.Close())
	rest := testkit.Receive(t, copying(dst.conn, src.conn))
	require.NoError(t, rest.err)
	arrives(t, dst.peer, "something")
}

// Behaviour 3.7, 9.8: a read timeout bounds each wait of a copy, and so does a deadline.
func TestReadTimeoutEndsCopyFromSilence(t *testing.T) {
	for _, set := range []func(c netpoll.Connection) error{
		func(c netpoll.Connection) error { return c.SetReadTimeout(testkit.Short) },
		func(c netpoll.Connection) error { return c.SetReadDeadline(time.Now().Add(testkit.Short)) },
	} {
		src, dst := makeEnd(t, "netpoll tcp"), makeEnd(t, "netpoll tcp")
		require.NoError(t, set(src.conn.(netpoll.Connection)))
		testkit.Send(t, src.peer, "something")
		result := testkit.Receive(t, copying(dst.conn, src.conn))
		require.ErrorIs(t, result.err, netpoll.ErrReadTimeout)
		require.EqualValues(t, len("something"), result.n)
		arrives(t, dst.peer, "something")
		require.NoError(t, src.conn.SetReadDeadline(time.Time{}))
		for range 3 {
			testkit.Send(t, src.peer, "more")
			got, err := src.conn.(netpoll.Connection).Reader().ReadString(4)
			require.NoError(t, err)
			require.Equal(t, "more", got, "the input is the connection's again")
		}
	}
}

// Behaviour 4.4, 9.8: a write timeout or deadline ends a copy to a peer that does not read, and the number of bytes is
// that of those which arrive.
func TestWriteTimeoutEndsCopyToPeerThatDoesNotRead(t *testing.T) {
	copyPairs(t, func(t *testing.T, src, dst copyEnd) {
		flood(src.peer)
		done := copying(dst.conn, src.conn)
		_, err := io.ReadFull(dst.peer, make([]byte, 1)) // it has begun
		require.NoError(t, err)
		if conn, ok := dst.conn.(netpoll.Connection); ok {
			require.NoError(t, conn.SetWriteTimeout(testkit.Short))
		} else {
			require.NoError(t, dst.conn.SetWriteDeadline(time.Now().Add(testkit.Short)))
		}
		result := testkit.Receive(t, done)
		require.ErrorIs(t, result.err, os.ErrDeadlineExceeded)
		require.Positive(t, result.n)
		passed := countInput(dst.peer)
		testkit.Eventually(t, func() bool { return 1+passed.Load() == result.n })
	})
	t.Run("from a file", func(t *testing.T) {
		dst := makeEnd(t, "netpoll tcp")
		require.NoError(t, dst.conn.(netpoll.Connection).SetWriteTimeout(testkit.Short))
		file := tempFile(t, testkit.Pattern(64<<20))
		result := testkit.Receive(t, copying(dst.conn, file))
		require.ErrorIs(t, result.err, netpoll.ErrWriteTimeout)
		at, err := file.Seek(0, io.SeekCurrent)
		require.NoError(t, err)
		if sendsFiles {
			require.Equal(t, result.n, at)
		}
		passed := countInput(dst.peer)
		testkit.Eventually(t, func() bool { return passed.Load() == result.n })
	})
}

// Behaviour 5.9, 9.8: closing the source ends a copy that waits for input, and one that never has to.
func TestCloseOfTheSourceEndsCopy(t *testing.T) {
	copyPairs(t, func(t *testing.T, src, dst copyEnd) {
		passed := countInput(dst.peer)
		done := copying(dst.conn, src.conn)
		flood(src.peer)
		testkit.Eventually(t, func() bool { return passed.Load() > 1<<20 })
		require.NoError(t, src.conn.Close())
		result := testkit.Receive(t, done)
		require.ErrorIs(t, result.err, net.ErrClosed)
		testkit.Eventually(t, func() bool { return passed.Load() == result.n })
	})
	copyPairs(t, func(t *testing.T, src, dst copyEnd) {
		done := testkit.Blocked(t, func() error {
			_, err := io.Copy(dst.conn, src.conn)
			return err
		})
		require.NoError(t, src.conn.Close())
		require.ErrorIs(t, testkit.Receive(t, done), net.ErrClosed)
	})
}

// Behaviour 5.9, 9.8: closing the destination ends a copy that waits for room, and one that never has to.
func TestCloseOfTheDestinationEndsCopy(t *testing.T) {
	t.Parallel()
	for _, reads := range []bool{true, false} {
		copyPairs(t, func(t *testing.T, src, dst copyEnd) {
			if reads {
				countInput(dst.peer)
			}
			flood(src.peer)
			done := copying(dst.conn, src.conn)
			time.Sleep(testkit.Calm)
			require.NoError(t, dst.conn.Close())
			require.ErrorIs(t, testkit.Receive(t, done).err, net.ErrClosed)
		})
	}
}

// Behaviour 5.9, 9.8: a source that is closed while the copy waits for room in the destination is gone for its peer at
// once.
func TestCloseOfTheSourceDoesNotWaitForTheDestination(t *testing.T) {
	t.Parallel()
	copyPairs(t, func(t *testing.T, src, dst copyEnd) {
		if _, ok := src.conn.(netpoll.Connection); !ok {
			return // its Close is not ours
		}
		var sent atomic.Int64
		failed := make(chan struct{})
		go func() {
			defer close(failed)
			for p := testkit.Pattern(256 << 10); ; sent.Add(1) {
				if _, err := src.peer.Write(p); err != nil {
					return
				}
			}
		}()
		done := copying(dst.conn, src.conn)
		for before := int64(-1); before != sent.Load(); time.Sleep(testkit.Calm) {
			before = sent.Load()
		}
		require.NoError(t, src.conn.Close())
		testkit.Receive(t, failed)
		countInput(dst.peer)
		require.ErrorIs(t, testkit.Receive(t, done).err, net.ErrClosed)
	})
}

// Behaviour 2.3, 9.8: a reset of either side is an error of the copy, and no end.
func TestResetEndsCopyWithAnError(t *testing.T) {
	copyPairs(t, func(t *testing.T, src, dst copyEnd) {
		if src.peer.LocalAddr().Network() != "tcp" {
			return // Unix sockets have no reset of their own
		}
		passed := countInput(dst.peer)
		done := copying(dst.conn, src.conn)
		testkit.Send(t, src.peer, "something")
		testkit.Eventually(t, func() bool { return passed.Load() > 0 })
		testkit.Reset(t, src.peer)
		result := testkit.Receive(t, done)
		require.ErrorIs(t, result.err, syscall.ECONNRESET)
		require.EqualValues(t, len("something"), result.n)
	})
	copyPairs(t, func(t *testing.T, src, dst copyEnd) {
		flood(src.peer)
		done := copying(dst.conn, src.conn)
		_, err := io.CopyN(io.Discard, dst.peer, 1<<20)
		require.NoError(t, err)
		if dst.peer.LocalAddr().Network() == "tcp" {
			testkit.Reset(t, dst.peer)
		} else {
			require.NoError(t, dst.peer.Close())
		}
		err = testkit.Receive(t, done).err
		require.Error(t, err)
		require.Contains(t, []error{syscall.ECONNRESET, syscall.EPIPE}, errnoIn(err), "%v", err)
	})
}

func errnoIn(err error) error {
	for _, no := range []syscall.Errno{syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, no) {
			return no
		}
	}
	return nil
}

// Behaviour 5.10, 9.8: a destination whose direction has ended is EPIPE; a source whose reading has ended is an end.
func TestHalfClosedSidesEndCopy(t *testing.T) {
	copyPairs(t, func(t *testing.T, src, dst copyEnd) {
		flood(src.peer)
		require.NoError(t, dst.conn.(halfCloser).CloseWrite())
		require.ErrorIs(t, testkit.Receive(t, copying(dst.conn, src.conn)).err, syscall.EPIPE)
	})
	copyPairs(t, func(t *testing.T, src, dst copyEnd) {
		done := testkit.Blocked(t, func() error {
			_, err := io.Copy(dst.conn, src.conn)
			return err
		})
		require.NoError(t, src.conn.(halfCloser).CloseRead())
		require.NoError(t, testkit.Receive(t, done))
	})
}

// Behaviour 5.10, 9.8: both directions of a proxy end by themselves, each in its time.
func TestHalfCloseThroughAProxyOfCopies(t *testing.T) {
	t.Parallel()
	copyPairs(t, func(t *testing.T, front, back copyEnd) {
		pass := func(dst, src net.Conn) <-chan error {
			done := make(chan error, 1)
			go func() {
				if _, err := io.Copy(dst, src); err != nil {
					done <- err
					return
				}
				done <- dst.(halfCloser).CloseWrite()
			}()
			return done
		}
		there, home := pass(back.conn, front.conn), pass(front.conn, back.conn)
		request, response := testkit.Pattern(2<<20), testkit.Pattern(3<<20)
		asked, answered := collect(back.peer), collect(front.peer)
		_, err := front.peer.Write(request)
		require.NoError(t, err)
		require.NoError(t, front.peer.(halfCloser).CloseWrite())
		require.True(t, bytes.Equal(request, testkit.Receive(t, asked)))
		require.NoError(t, testkit.Receive(t, there))
		_, err = back.peer.Write(response)
		require.NoError(t, err)
		require.NoError(t, back.peer.(halfCloser).CloseWrite())
		require.True(t, bytes.Equal(response, testkit.Receive(t, answered)))
		require.NoError(t, testkit.Receive(t, home))
	})
}

// Behaviour 4.5, 9.8: what others write comes between two pieces of a copy, and does not wait for its end; a file stays
// in one piece.
func TestOthersWriteBesideCopy(t *testing.T) {
	copyPairs(t, func(t *testing.T, src, dst copyEnd) {
		done := copying(dst.conn, src.conn)
		testkit.Send(t, src.peer, "one,")
		arrives(t, dst.peer, "one,")
		_, err := dst.conn.Write([]byte("two,"))
		require.NoError(t, err)
		arrives(t, dst.peer, "two,")
		testkit.Send(t, src.peer, "three")
		arrives(t, dst.peer, "three")
		require.NoError(t, src.peer.(halfCloser).CloseWrite())
		require.NoError(t, testkit.Receive(t, done).err)
	})
	t.Run("files", func(t *testing.T) {
		const size = 4 << 20
		dst := makeEnd(t, "netpoll tcp")
		a, b := copying(dst.conn, tempFile(t, bytes.Repeat([]byte("a"), size))),
			copying(dst.conn, tempFile(t, bytes.Repeat([]byte("b"), size)))
		got := make([]byte, 2*size)
		_, err := io.ReadFull(dst.peer, got)
		require.NoError(t, err)
		require.NoError(t, testkit.Receive(t, a).err)
		require.NoError(t, testkit.Receive(t, b).err)
		changes := 0
		for i := 1; i < len(got); i++ {
			if got[i] != got[i-1] {
				changes++
			}
		}
		if sendsFiles {
			require.Equal(t, 1, changes, "the files are mixed")
		}
	})
}

// Behaviour 3.9, 9.8: a copy is the one reader of its source; Read has its turn when it has ended.
func TestCopyIsTheOneReader(t *testing.T) {
	src, dst := makeEnd(t, "netpoll tcp"), makeEnd(t, "netpoll tcp")
	done := testkit.Blocked(t, func() error {
		_, err := io.Copy(dst.conn, src.conn)
		return err
	})
	testkit.Send(t, src.peer, "first")
	arrives(t, dst.peer, "first")
	testkit.Eventually(t, func() bool { // as soon as it waits again
		return src.conn.(netpoll.Connection).Reader().Release() != nil
	})
	require.ErrorIs(t, src.conn.(netpoll.Connection).Reader().Skip(1), netpoll.ErrConcurrentAccess)
	require.NoError(t, src.peer.(halfCloser).CloseWrite())
	require.NoError(t, testkit.Receive(t, done))
	_, err := src.conn.Read(make([]byte, 1))
	require.Equal(t, io.EOF, err)
	again := testkit.Receive(t, copying(dst.conn, src.conn))
	require.NoError(t, again.err, "the end of the stream stays what it is")
	require.Zero(t, again.n)
}

// Behaviour 5.2, 9.8: the peer's end is noticed during a copy that waits for room, and OnDisconnect called.
func TestPeersEndIsNoticedDuringCopy(t *testing.T) {
	src, dst := makeEnd(t, "netpoll tcp"), makeEnd(t, "netpoll tcp")
	conn := src.conn.(*netpoll.TCPConnection)
	gone := make(chan struct{})
	require.NoError(t, conn.SetOnDisconnect(func(context.Context, netpoll.Connection) { close(gone) }))
	var sent atomic.Int64
	go func() {
		_ = src.peer.SetWriteDeadline(time.Now().Add(testkit.Timeout))
		for p := testkit.Pattern(64 << 10); sent.Load() < 128; sent.Add(1) {
			if _, err := src.peer.Write(p); err != nil {
				return
			}
			if sent.Load() == 127 {
				_ = src.peer.Close()
			}
		}
	}()
	done := copying(dst.conn, src.conn)
	if sendsFiles { // else input at its limit hides the end
		time.Sleep(testkit.Calm)
	}
	passed := countInput(dst.peer)
	require.NoError(t, testkit.Receive(t, done).err)
	testkit.Receive(t, gone)
	require.False(t, conn.IsActive())
	testkit.Eventually(t, func() bool { return passed.Load() == 128*64<<10 })
}

// Behaviour 6.4, 9.8: a copy that moves bytes keeps a connection from being idle, on both sides; one that does not, not.
func TestIdleLimitDuringCopy(t *testing.T) {
	src, dst := makeEnd(t, "netpoll tcp"), makeEnd(t, "netpoll tcp")
	const limit = 300 * time.Millisecond
	for _, c := range []net.Conn{src.conn, dst.conn} {
		require.NoError(t, c.(*netpoll.TCPConnection).SetIdleLimit(limit))
	}
	done := copying(dst.conn, src.conn)
	for start := time.Now(); time.Since(start) < 2*limit; time.Sleep(limit / 20) {
		testkit.Send(t, src.peer, "x")
		arrives(t, dst.peer, "x")
	}
	require.ErrorIs(t, testkit.Receive(t, done).err, netpoll.ErrConnClosed)
}

// Behaviour 5.4, 9.8: what a limited copy has left is input for the handler.
func TestHandlerGetsWhatCopyHasLeft(t *testing.T) {
	dst := makeEnd(t, "netpoll tcp")
	rest := make(chan string, 1)
	addr := testnet.NewServer(t, "tcp", func(_ context.Context, conn netpoll.Connection) error {
		if _, err := io.CopyN(dst.conn, conn.(io.Reader), 1<<20); err != nil {
			return err
		}
		s, err := conn.Reader().ReadString(4)
		rest <- s
		return err
	}).Addr().String()
	peer, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer peer.Close()
	got := collect(dst.peer)
	_, err = peer.Write(append(testkit.Pattern(1<<20), "rest"...))
	require.NoError(t, err)
	require.Equal(t, "rest", testkit.Receive(t, rest))
	require.NoError(t, dst.conn.Close())
	require.True(t, bytes.Equal(testkit.Pattern(1<<20), testkit.Receive(t, got)))
}

// Behaviour 9.8: copies that go well and copies that do not leave no descriptor behind.
func TestCopyLeavesNoDescriptors(t *testing.T) {
	one := func() {
		t.Run("copies", func(t *testing.T) {
			copyPairs(t, func(t *testing.T, src, dst copyEnd) {
				flood(src.peer)
				require.NoError(t, dst.conn.SetWriteDeadline(time.Now().Add(testkit.Short)))
				require.Error(t, testkit.Receive(t, copying(dst.conn, src.conn)).err)
			})
			copyPairs(t, func(t *testing.T, src, dst copyEnd) {
				countInput(dst.peer)
				flood(src.peer)
				done := copying(dst.conn, src.conn)
				time.Sleep(testkit.Calm / 10)
				require.NoError(t, src.conn.Close())
				require.Error(t, testkit.Receive(t, done).err)
			})
		})
	}
	one()
	before := descriptorsOpen()
	for range 3 {
		one()
	}
	testkit.Eventually(t, func() bool {
		runtime.GC() // which closes pipes that nobody wants
		return descriptorsOpen() <= before
	})
}

// descriptorsOpen is how many the process has; 0 where the system does not say.
func descriptorsOpen() int {
	entries, _ := os.ReadDir("/dev/fd")
	return len(entries)
}
