package bugs

// Writing to a connection.

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
)

// flushInVain has a Flush fail for a deadline that has passed.
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
	const goroutines, frames, size = 8, 50, 10000
	conn, peer := pair(t)
	var wg sync.WaitGroup
	for i := range goroutines {
		wg.Go(func() {
			frame := bytes.Repeat([]byte{byte(i)}, size)
			for range frames {
				if _, err := conn.Write(frame); err != nil {
					t.Errorf("Write beside other Writes: %v", err)
					return
				}
			}
		})
	}
	defer wg.Wait()
	must(t, peer.SetReadDeadline(time.Now().Add(patience)))
	for range goroutines * frames {
		frame := make([]byte, size)
		if _, err := io.ReadFull(peer, frame); err != nil {
			t.Errorf("a frame is missing: %v", err)
			return
		}
		if !bytes.Equal(frame, bytes.Repeat(frame[:1], size)) {
			t.Error("the bytes of two Writes are mixed")
			return
		}
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
			_, err = peer.Read(make([]byte, 1)) // Flush is at work
			must(t, err)
		}
		must(t, conn.Close())
		if err := await(t, result, "the end of the Flush"); !errors.Is(err, netpoll.ErrConnClosed) {
			t.Fatalf("Flush lost against Close: %v", err)
		}
		must(t, peer.Close())
	}
}
