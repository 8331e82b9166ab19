package test

// Reading through Reader: waiting for enough, and what is valid for how long. Timeouts and deadlines are in
// connection_read_deadline_test.go, use by several goroutines is in connection_read_sharing_test.go.

import (
	"bytes"
	"errors"
	"math"
	"net"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

// readCall is a Reader method that waits for n bytes.
type readCall struct {
	name string
	// max is how many bytes it can be asked for; 0 means any number.
	max int
	// silent and stays: it does not return the bytes, and it leaves them in the buffer.
	silent, stays bool
	// do returns the result of the method, as a string.
	do func(r netpoll.Reader, n int) (string, error)
}

// ask returns how many bytes to ask for when n are wanted.
func (c readCall) ask(n int) int {
	if c.max > 0 {
		return min(n, c.max)
	}
	return n
}

var readCalls = []readCall{
	{name: "Next", do: func(r netpoll.Reader, n int) (string, error) { p, err := r.Next(n); return string(p), err }},
	{name: "Peek", stays: true, do: func(r netpoll.Reader, n int) (string, error) {
		p, err := r.Peek(n)
		return string(p), err
	}},
	{name: "Skip", silent: true, do: func(r netpoll.Reader, n int) (string, error) { return "", r.Skip(n) }},
	{name: "ReadString", do: func(r netpoll.Reader, n int) (string, error) { return r.ReadString(n) }},
	{name: "ReadBinary", do: func(r netpoll.Reader, n int) (string, error) {
		p, err := r.ReadBinary(n)
		return string(p), err
	}},
	{name: "Slice", do: sliceToString},
	{name: "ReadByte", max: 1, do: func(r netpoll.Reader, _ int) (string, error) {
		b, err := r.ReadByte()
		if err != nil {
			if b != 0 {
				return string(b), err
			}
			return "", err
		}
		return string([]byte{b}), nil
	}},
}

func sliceToString(r netpoll.Reader, n int) (string, error) {
	slice, err := r.Slice(n)
	if err != nil {
		if slice != nil {
			return "a reader in spite of an error", err
		}
		return "", err
	}
	if slice.Len() != max(n, 0) {
		return "", errors.New("the slice has another length")
	}
	return slice.ReadString(slice.Len())
}

// Behaviour 3.1: a reading method waits until enough bytes are buffered.
func TestReadWaitsUntilEnoughIsBuffered(t *testing.T) {
	t.Parallel()
	const text = "01234567"
	for _, call := range readCalls {
		t.Run(call.name, func(t *testing.T) {
			conn, peer := testnet.Dialed(t, "tcp")
			n := call.ask(len(text))
			var got string
			result := testkit.Blocked(t, func() (err error) { got, err = call.do(conn.Reader(), n); return err })
			if n > 1 {
				testkit.Send(t, peer, text[:n-1])
				testnet.Buffered(t, conn, n-1)
				select {
				case err := <-result:
					t.Fatalf("returned one byte too early, with error %v", err)
				case <-time.After(testkit.Calm):
				}
			}
			testkit.Send(t, peer, text[n-1:])
			require.NoError(t, testkit.Receive(t, result))
			if !call.silent {
				require.Equal(t, text[:n], got)
			}
			left := len(text) - n
			if call.stays {
				left = len(text)
			}
			testkit.Eventually(t, func() bool { return conn.Reader().Len() == left })
		})
	}
}

// tooLittle holds the states in which no more input will come in time. Each is entered with all input buffered.
var tooLittle = []struct {
	name  string
	want  error
	enter func(t *testing.T, conn netpoll.Connection, peer net.Conn)
}{
	{"peer closed", netpoll.ErrEOF, func(t *testing.T, conn netpoll.Connection, peer net.Conn) {
		require.NoError(t, peer.Close())
		testkit.Eventually(t, func() bool { return !conn.IsActive() })
	}},
	{"closed", netpoll.ErrConnClosed, func(t *testing.T, conn netpoll.Connection, _ net.Conn) {
		require.NoError(t, conn.Close())
	}},
	{"past deadline", netpoll.ErrReadTimeout, func(t *testing.T, conn netpoll.Connection, _ net.Conn) {
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(-time.Second)))
	}},
	{"timeout", netpoll.ErrReadTimeout, func(t *testing.T, conn netpoll.Connection, _ net.Conn) {
		require.NoError(t, conn.SetReadTimeout(testkit.Short))
	}},
}

// Behaviour 3.1: enough buffered bytes win over every other state.
func TestReadOfBufferedBytesWinsOverEveryState(t *testing.T) {
	const text = "01234567"
	for _, state := range tooLittle {
		for _, call := range readCalls {
			t.Run(state.name+"/"+call.name, func(t *testing.T) {
				conn, peer := testnet.Dialed(t, "tcp")
				testkit.Send(t, peer, text)
				testnet.Buffered(t, conn, len(text))
				state.enter(t, conn, peer)
				n := call.ask(len(text))
				got, err := call.do(conn.Reader(), n)
				require.NoError(t, err)
				if !call.silent {
					require.Equal(t, text[:n], got)
				}
			})
		}
	}
}

// Behaviour 3.1: not enough bytes give an error and an empty result, and they stay readable.
func TestReadOfTooMuchLeavesBufferedBytesReadable(t *testing.T) {
	t.Parallel()
	const text = "01234"
	for _, state := range tooLittle {
		for _, call := range readCalls {
			if call.max > 0 {
				continue // it never needs more than there is
			}
			t.Run(state.name+"/"+call.name, func(t *testing.T) {
				conn, peer := testnet.Dialed(t, "tcp")
				testkit.Send(t, peer, text)
				testnet.Buffered(t, conn, len(text))
				state.enter(t, conn, peer)
				got, err := call.do(conn.Reader(), len(text)+1)
				require.ErrorIs(t, err, state.want)
				require.Empty(t, got)
				require.Equal(t, len(text), conn.Reader().Len())
				rest, err := conn.Reader().ReadString(len(text))
				require.NoError(t, err)
				require.Equal(t, text, rest)
			})
		}
	}
}

// Behaviour 3.1: a waiting reader is woken by the end of the stream and by Close.
func TestWaitingReaderIsWokenByTheEnd(t *testing.T) {
	for _, call := range readCalls {
		for _, state := range tooLittle[:2] {
			t.Run(state.name+"/"+call.name, func(t *testing.T) {
				conn, peer := testnet.Dialed(t, "tcp")
				result := testkit.Blocked(t, func() error { _, err := call.do(conn.Reader(), call.ask(8)); return err })
				state.enter(t, conn, peer)
				require.ErrorIs(t, testkit.Receive(t, result), state.want)
			})
		}
	}
}

// Behaviour 3.2: n <= 0 returns zero values and no error at once.
func TestReadOfNothingReturnsAtOnce(t *testing.T) {
	conn, peer := testnet.Dialed(t, "tcp")
	check := func(t *testing.T) {
		for _, call := range readCalls {
			if call.max > 0 {
				continue // ReadByte takes no number
			}
			for _, n := range []int{0, -1, math.MinInt} {
				var got string
				var err error
				testkit.Within(t, testkit.Timeout, func() { got, err = call.do(conn.Reader(), n) })
				require.NoError(t, err, "%s(%d)", call.name, n)
				require.Empty(t, got, "%s(%d)", call.name, n)
			}
		}
	}
	t.Run("open", check)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(-time.Second)))
	t.Run("past deadline", check)
	require.NoError(t, peer.Close())
	testkit.Eventually(t, func() bool { return !conn.IsActive() })
	t.Run("peer closed", check)
}

// readSizes are lengths within one block, at the edges of blocks, and over many.
var readSizes = []int{1, 100, 4095, 4096, 4097, 8192, 10_000, 70_000}

// Behaviour 3.3: what Next and Peek return has len == cap == n.
func TestNextAndPeekReturnExactCapacity(t *testing.T) {
	conn, peer := testnet.Dialed(t, "tcp")
	for _, n := range readSizes {
		want := testkit.Pattern(n + 10)
		testkit.Send(t, peer, string(want))
		testnet.Buffered(t, conn, n+10)
		peeked, err := conn.Reader().Peek(n)
		require.NoError(t, err)
		require.Equal(t, want[:n], peeked)
		require.Equal(t, n, cap(peeked), "capacity of Peek(%d)", n)
		next, err := conn.Reader().Next(n)
		require.NoError(t, err)
		require.Equal(t, want[:n], next)
		require.Equal(t, n, cap(next), "capacity of Next(%d)", n)
		rest, err := conn.Reader().Next(10)
		require.NoError(t, err)
		require.Equal(t, want[n:], rest, "after Next(%d)", n)
		require.NoError(t, conn.Reader().Release())
	}
}

// Behaviour 3.3: it stays valid and unchanged until Release while new data arrives and the buffer grows.
func TestNextStaysValidUntilReleaseWhileInputGrows(t *testing.T) {
	conn, peer := testnet.Dialed(t, "tcp")
	const round = 64 << 10
	for _, n := range readSizes {
		want := testkit.Pattern(n)
		testkit.Send(t, peer, string(want))
		peeked, err := conn.Reader().Peek(n)
		require.NoError(t, err)
		next, err := conn.Reader().Next(n)
		require.NoError(t, err)
		for range 8 {
			testkit.Send(t, peer, string(bytes.Repeat([]byte{0xff}, round)))
			_, err := conn.Reader().Next(round)
			require.NoError(t, err)
		}
		require.True(t, bytes.Equal(want, next), "Next(%d) changed before Release", n)
		require.True(t, bytes.Equal(want, peeked), "Peek(%d) changed before Release", n)
		require.NoError(t, conn.Reader().Release())
	}
}

// spread sends p to conn in pieces that arrive one by one, so that it lies in several blocks.
func spread(t *testing.T, conn netpoll.Connection, peer net.Conn, p []byte) {
	t.Helper()
	before := conn.Reader().Len()
	for done := 0; done < len(p); {
		piece := min(3000, len(p)-done)
		testkit.Send(t, peer, string(p[done:done+piece]))
		done += piece
		testnet.Buffered(t, conn, before+done)
	}
}

// Behaviour 3.3: a later Peek or Skip never changes an earlier Peek's bytes.
func TestLaterPeekOrSkipLeavesEarlierPeekAlone(t *testing.T) {
	conn, peer := testnet.Dialed(t, "tcp")
	data := testkit.Pattern(60_000)
	spread(t, conn, peer, data)
	type view struct {
		at int
		p  []byte
	}
	var views []view
	at := 0
	for _, step := range []struct{ skip, peek int }{
		{0, 10_000}, {0, 20_000}, {0, 9_000}, {5_000, 10_000}, {1, 30_000}, {12_000, 7_000}, {0, 40_000}, {3_000, 25_000},
	} {
		require.NoError(t, conn.Reader().Skip(step.skip))
		at += step.skip
		p, err := conn.Reader().Peek(step.peek)
		require.NoError(t, err)
		views = append(views, view{at, p})
		for i, v := range views {
			require.True(t, bytes.Equal(data[v.at:v.at+len(v.p)], v.p), "peek %d changed after %+v", i, step)
		}
	}
}

// Behaviour 3.4: ReadString and ReadBinary are copies, valid for ever.
func TestReadStringAndReadBinaryAreCopies(t *testing.T) {
	conn, peer := testnet.Dialed(t, "tcp")
	for _, n := range readSizes {
		want := testkit.Pattern(n)
		testkit.Send(t, peer, string(want)+string(want))
		s, err := conn.Reader().ReadString(n)
		require.NoError(t, err)
		p, err := conn.Reader().ReadBinary(n)
		require.NoError(t, err)
		require.NoError(t, conn.Reader().Release())
		for range 4 { // enough to use the blocks anew
			testkit.Send(t, peer, string(bytes.Repeat([]byte{0xff}, 32<<10)))
			require.NoError(t, conn.Reader().Skip(32<<10))
			require.NoError(t, conn.Reader().Release())
		}
		require.True(t, s == string(want), "ReadString(%d) changed", n)
		require.True(t, bytes.Equal(want, p), "ReadBinary(%d) changed", n)
	}
}

// Behaviour 3.4: repeated Peeks across blocks, growing or shrinking, do not grow memory.
func TestRepeatedPeeksDoNotGrowMemory(t *testing.T) {
	conn, peer := testnet.Dialed(t, "tcp")
	const length = 60_000
	spread(t, conn, peer, testkit.Pattern(length))
	_, err := conn.Reader().Peek(length)
	require.NoError(t, err)
	before := testkit.HeapInUse()
	for i := range 2000 {
		n := 7_000 + i*13%(length-7_000)
		if i%2 == 1 {
			n = length - n/2
		}
		_, err := conn.Reader().Peek(n)
		require.NoError(t, err)
	}
	grown := testkit.HeapInUse() - before
	require.Less(t, grown, int64(8*length), "bytes of heap for 2000 peeks into %d bytes", length)
	require.NoError(t, conn.Reader().Skip(length))
	require.NoError(t, conn.Reader().Release())
}

// Behaviour 3.5: Until returns through the delimiter.
func TestUntilReturnsThroughDelimiter(t *testing.T) {
	conn, peer := testnet.Dialed(t, "tcp")
	testkit.Send(t, peer, "one\n\ntwo\nth")
	for _, want := range []string{"one\n", "\n", "two\n"} {
		line, err := conn.Reader().Until('\n')
		require.NoError(t, err)
		require.Equal(t, want, string(line))
	}
	var line []byte
	result := testkit.Blocked(t, func() (err error) { line, err = conn.Reader().Until('\n'); return err })
	testkit.Send(t, peer, "r")
	testkit.Send(t, peer, "ee\nrest")
	require.NoError(t, testkit.Receive(t, result))
	require.Equal(t, "three\n", string(line))
	long := bytes.Repeat([]byte("x"), 50_000)
	require.NoError(t, conn.Reader().Skip(4))
	testkit.Send(t, peer, string(long)+"\n")
	line, err := conn.Reader().Until('\n')
	require.NoError(t, err)
	require.Equal(t, string(long)+"\n", string(line))
}

// Behaviour 3.5: on error Until returns and consumes what is buffered, with the error.
func TestUntilConsumesWhatIsBufferedOnError(t *testing.T) {
	for _, state := range tooLittle {
		t.Run(state.name, func(t *testing.T) {
			conn, peer := testnet.Dialed(t, "tcp")
			testkit.Send(t, peer, "no end")
			testnet.Buffered(t, conn, 6)
			state.enter(t, conn, peer)
			line, err := conn.Reader().Until('\n')
			require.ErrorIs(t, err, state.want)
			require.Equal(t, "no end", string(line))
			require.Zero(t, conn.Reader().Len())
		})
	}
}

// Behaviour 3.5: so does an Until that is waiting when the end comes.
func TestWaitingUntilReturnsWhatIsBufferedAtTheEnd(t *testing.T) {
	for _, state := range tooLittle[:2] {
		t.Run(state.name, func(t *testing.T) {
			conn, peer := testnet.Dialed(t, "tcp")
			testkit.Send(t, peer, "no end")
			testnet.Buffered(t, conn, 6)
			var line []byte
			result := testkit.Blocked(t, func() (err error) { line, err = conn.Reader().Until('\n'); return err })
			state.enter(t, conn, peer)
			require.ErrorIs(t, testkit.Receive(t, result), state.want)
			require.Equal(t, "no end", string(line))
		})
	}
}
