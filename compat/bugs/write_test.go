package bugs

// Writing to a connection.

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
)

// flushInVain calls Flush with a timeout. The peer does not read, so Flush fails when the timeout has passed.
func flushInVain(t testing.TB, conn netpoll.Connection) {
	t.Helper()
	_, err := conn.Writer().WriteBinary(make([]byte, tooLarge))
	must(t, err)
	must(t, conn.SetWriteDeadline(time.Now().Add(-time.Second)))
	if err := conn.Writer().Flush(); !errors.Is(err, netpoll.ErrWriteTimeout) {
		t.Fatalf("Flush past its deadline: %v", err)
	}
	must(t, conn.SetWriteDeadline(time.Time{}))
}

// Behaviour 4.4: after a Flush that timed out nothing is sent until the next one.
func TestNothingIsSentBehindTheCallersBack(t *testing.T) {
	conn, peer := pair(t)
	flushInVain(t, conn)
	if n := readQuietly(t, peer); n == tooLarge {
		t.Fatal("the poller has sent everything, though Flush said that it timed out")
	}
}

// Behaviour 4.4: a wake-up left over from a Flush that timed out does not end a later one early.
func TestStaleWakeUpDoesNotEndALaterFlush(t *testing.T) {
	conn, peer := pair(t)
	flushInVain(t, conn)
	sent := readQuietly(t, peer)
	_, err := conn.Writer().WriteBinary(make([]byte, tooLarge))
	must(t, err)
	result := async(conn.Writer().Flush)
	select {
	case err := <-result:
		t.Fatalf("Flush returned %v though its peer has not read", err)
	case <-time.After(3 * calm):
	}
	_, err = io.CopyN(io.Discard, peer, int64(2*tooLarge-sent))
	must(t, err)
	must(t, await(t, result, "the end of the Flush"))
}

// Behaviour 4.4: Write reports how many bytes of its argument the kernel took, and no others are sent later.
func TestWriteReportsWhatTheKernelTook(t *testing.T) {
	conn, peer := pair(t)
	must(t, conn.SetWriteTimeout(short))
	n, err := conn.Write(make([]byte, tooLarge))
	if !errors.Is(err, netpoll.ErrWriteTimeout) {
		t.Fatalf("Write to a peer that does not read: %v", err)
	}
	if got := readQuietly(t, peer); got != n {
		t.Fatalf("Write reported %d bytes, and %d arrived", n, got)
	}
}

// Behaviour 3.8, 4.4: a deadline ends a Flush that is blocked already.
func TestDeadlineEndsABlockedFlush(t *testing.T) {
	conn, _ := pair(t)
	_, err := conn.Writer().WriteBinary(make([]byte, tooLarge))
	must(t, err)
	result := blocked(t, conn.Writer().Flush)
	must(t, conn.SetWriteDeadline(time.Now().Add(short)))
	if err := await(t, result, "the end of the Flush"); !errors.Is(err, netpoll.ErrWriteTimeout) {
		t.Fatalf("Flush ended with %v", err)
	}
}

// Behaviour 4.5: Write may be called from many goroutines, and the bytes of each call stay together.
func TestWriteMayBeCalledFromManyGoroutines(t *testing.T) {
	conn, peer := pair(t)
	first := blocked(t, func() error {
		_, err := conn.Write(bytes.Repeat([]byte("1"), tooLarge))
		return err
	})
	second := async(func() error {
		_, err := conn.Write([]byte("2"))
		return err
	})
	select {
	case err := <-second:
		t.Fatalf("a Write beside another one returned %v", err)
	case <-time.After(calm):
	}
	must(t, peer.SetReadDeadline(time.Now().Add(patience)))
	got := make([]byte, tooLarge+1)
	_, err := io.ReadFull(peer, got)
	must(t, err)
	must(t, await(t, first, "the end of the first Write"))
	must(t, await(t, second, "the end of the second Write"))
	if n := bytes.IndexByte(got, '2'); n != tooLarge {
		t.Fatalf("the second Write came after %d bytes of the first", n)
	}
}

// Behaviour 4.7: a Flush that loses against Close says ErrConnClosed.
func TestFlushThatLosesAgainstCloseSaysErrConnClosed(t *testing.T) {
	for range 100 {
		conn, peer := pair(t)
		_, err := conn.Writer().WriteBinary(make([]byte, tooLarge))
		must(t, err)
		result := async(conn.Writer().Flush)
		if rand.IntN(2) == 0 {
			_, err = peer.Read(make([]byte, 1)) // Flush has begun to send
			must(t, err)
		}
		must(t, conn.Close())
		if err := await(t, result, "the end of the Flush"); !errors.Is(err, netpoll.ErrConnClosed) {
			t.Fatalf("Flush lost against Close: %v", err)
		}
		must(t, peer.Close())
	}
}
