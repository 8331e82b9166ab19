package netpoll

// This file holds the tests of LinkBuffer line by line. Combinations of operations are tested against a model in
// linkbuffer_fuzz_test.go, two goroutines in linkbuffer_concurrent_test.go.

import (
	"bytes"
	"io"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// written returns a buffer whose readable bytes are the given pieces, each in a block of its own.
func written(t *testing.T, pieces ...string) *LinkBuffer {
	t.Helper()
	b := new(LinkBuffer)
	for _, s := range pieces {
		src := new(LinkBuffer)
		_, err := src.WriteString(s)
		require.NoError(t, err)
		require.NoError(t, b.Append(src))
	}
	require.NoError(t, b.Flush())
	return b
}

// content flushes b and returns what then is readable.
func content(t *testing.T, b *LinkBuffer) string {
	t.Helper()
	require.NoError(t, b.Flush())
	return string(b.Bytes())
}

func malloc(t *testing.T, b *LinkBuffer, s string) []byte {
	t.Helper()
	p, err := b.Malloc(len(s))
	require.NoError(t, err)
	copy(p, s)
	return p
}

// heldBytes is how much block memory the chain of a quiet buffer holds.
func heldBytes(b *LinkBuffer) (n int) {
	seen := make(map[*block]bool)
	for _, nd := range []*node{b.head, b.entry, b.base, b.pending} {
		for ; nd != nil; nd = nd.next {
			if nd.blk != nil && !seen[nd.blk] {
				seen[nd.blk] = true
				n += len(nd.blk.first.buf)
			}
		}
	}
	return n
}

// reading is one of the methods that read n bytes, with its result as a string.
type reading struct {
	name     string
	read     func(b Reader, n int) (string, error)
	consumes bool
}

var readings = []reading{
	{"Next", func(b Reader, n int) (string, error) { p, err := b.Next(n); return string(p), err }, true},
	{"Peek", func(b Reader, n int) (string, error) { p, err := b.Peek(n); return string(p), err }, false},
	{"Skip", func(b Reader, n int) (string, error) { return "", b.Skip(n) }, true},
	{"ReadString", func(b Reader, n int) (string, error) { return b.ReadString(n) }, true},
	{"ReadBinary", func(b Reader, n int) (string, error) { p, err := b.ReadBinary(n); return string(p), err }, true},
	{"Slice", func(b Reader, n int) (string, error) {
		r, err := b.Slice(n)
		if err != nil {
			return "", err
		}
		return r.ReadString(n)
	}, true},
}

// Behaviour 3.1: not enough is an error and an empty result, and the bytes stay readable.
func TestReadingMoreThanIsThereChangesNothing(t *testing.T) {
	for _, tc := range readings {
		t.Run(tc.name, func(t *testing.T) {
			b := written(t, "abc", "de")
			s, err := tc.read(b, 6)
			require.ErrorIs(t, err, ErrNotEnoughData)
			require.Empty(t, s)
			require.Equal(t, "abcde", string(b.Bytes()))
			s, err = tc.read(b, 5)
			require.NoError(t, err)
			if tc.name != "Skip" {
				require.Equal(t, "abcde", s)
			}
			require.Equal(t, tc.consumes, b.IsEmpty())
		})
	}
	_, err := new(LinkBuffer).ReadByte()
	require.ErrorIs(t, err, ErrNotEnoughData)
}

// Behaviour 3.2: n <= 0 gives zero values and no error at once.
func TestReadingNothingIsNoError(t *testing.T) {
	for _, tc := range readings {
		for _, n := range []int{0, -1} {
			b := written(t, "abc")
			s, err := tc.read(b, n)
			require.NoError(t, err, tc.name)
			require.Empty(t, s, tc.name)
			require.Equal(t, 3, b.Len(), tc.name)
		}
	}
}

// Behaviour 3.3: what Next and Peek return has len == cap == n, and stays while data arrives and later Peeks grow.
func TestNextAndPeekStayUnchangedUntilRelease(t *testing.T) {
	b := written(t, "abcd", "efgh", "ijkl")
	first, err := b.Peek(6)
	require.NoError(t, err)
	require.Equal(t, 6, cap(first))
	next, err := b.Next(2)
	require.NoError(t, err)
	require.Equal(t, 2, cap(next))
	second, err := b.Peek(9)
	require.NoError(t, err)
	copy(b.book(100), strings.Repeat("x", 100))
	b.bookAck(100)
	require.NoError(t, b.Skip(3))
	third, err := b.Peek(60)
	require.NoError(t, err)
	require.Equal(t, "abcdef", string(first))
	require.Equal(t, "ab", string(next))
	require.Equal(t, "cdefghijk", string(second))
	require.Equal(t, "fghijkl"+strings.Repeat("x", 53), string(third))
}

// Behaviour 3.4: ReadString and ReadBinary are copies.
func TestReadStringAndReadBinaryAreValidForEver(t *testing.T) {
	SetMemoryDebug(func(err error) { t.Error(err) })
	defer SetMemoryDebug(nil)
	for _, pieces := range [][]string{{"abcdefgh"}, {"abc", "def", "gh"}} {
		b := written(t, pieces...)
		s, err := b.ReadString(4)
		require.NoError(t, err)
		p, err := b.ReadBinary(4)
		require.NoError(t, err)
		require.Equal(t, 4, cap(p))
		require.NoError(t, b.Release())
		p[0] = 'E'
		require.Equal(t, "abcdEfgh", s+string(p))
	}
}

// Behaviour 3.4: repeated Peeks across blocks, growing or shrinking, do not grow memory.
func TestRepeatedPeeksDoNotGrowMemory(t *testing.T) {
	b := written(t, strings.Repeat("a", 3000), strings.Repeat("b", 3000), strings.Repeat("c", 3000))
	_, err := b.Peek(9000)
	require.NoError(t, err)
	held := heldBytes(b)
	for n := 3001; n <= 9000; n += 100 {
		_, err = b.Peek(n)
		require.NoError(t, err)
		_, err = b.Peek(12_000 - n)
		require.NoError(t, err)
	}
	require.Equal(t, held, heldBytes(b))

	b = written(t, strings.Split(strings.Repeat("abcdefghijklmno,", 1000), ",")...)
	for n := 1; n <= b.Len(); n++ {
		_, err = b.Peek(n)
		require.NoError(t, err)
	}
	require.LessOrEqual(t, heldBytes(b), 3*b.Len(), "growing Peeks collect memory")
}

// Behaviour 3.5: Until returns through the delimiter; on error it returns and consumes what is buffered.
func TestUntilReturnsThroughTheDelimiter(t *testing.T) {
	b := written(t, "ab", "c\nd", "ef")
	line, err := b.Until('\n')
	require.NoError(t, err)
	require.Equal(t, "abc\n", string(line))
	line, err = b.Until('\n')
	require.ErrorIs(t, err, ErrNotEnoughData)
	require.Equal(t, "def", string(line))
	require.True(t, b.IsEmpty())
	line, err = b.Until('\n')
	require.ErrorIs(t, err, ErrNotEnoughData)
	require.Empty(t, line)
}

// Behaviour 3.6, 1.4: Slice shares memory, is an io.Closer, and outlives what its parent does.
func TestSliceSharesMemoryByReferenceCount(t *testing.T) {
	SetMemoryDebug(func(err error) { t.Error(err) })
	defer SetMemoryDebug(nil)
	before := blocksOut.Load()
	b := written(t, "abcd", "efgh")
	whole, err := b.Peek(4)
	require.NoError(t, err)
	r, err := b.Slice(6)
	require.NoError(t, err)
	require.Equal(t, "abcd", string(whole), "Slice must not end what was peeked just before")
	require.Equal(t, "gh", string(b.Bytes()))
	require.NoError(t, b.Close())
	inside, err := r.Peek(4)
	require.NoError(t, err)
	require.Equal(t, unsafe.SliceData(whole), unsafe.SliceData(inside), "the bytes were copied")
	s, err := r.ReadString(6)
	require.NoError(t, err)
	require.Equal(t, "abcdef", s)
	require.Positive(t, blocksOut.Load()-before)
	require.NoError(t, r.(io.Closer).Close())
	require.Equal(t, before, blocksOut.Load(), "blocks still in use")
}

// Behaviour 3.6: a slice can be written to without touching the memory it shares.
func TestWritingToASliceDoesNotTouchItsParent(t *testing.T) {
	b := written(t, "abcdefgh")
	whole, err := b.Peek(8)
	require.NoError(t, err)
	r, err := b.Slice(4)
	require.NoError(t, err)
	s := r.(*LinkBuffer)
	_, err = s.WriteString("XY")
	require.NoError(t, err)
	require.NoError(t, s.Flush())
	require.Equal(t, "abcd|XY", string(bytes.Join(s.GetBytes(nil), []byte("|"))))
	require.Equal(t, "efgh", string(b.Bytes()))

	moved := new(LinkBuffer)
	require.NoError(t, moved.Append(s))
	require.NoError(t, moved.MallocAck(2))
	_, err = moved.WriteString("ZZ")
	require.NoError(t, err)
	require.Equal(t, "abZZ", content(t, moved))
	require.Equal(t, "abcdefgh", string(whole))
}

// Behaviour 3.3: the same block may be read empty by one Slice after another; each leaves what was peeked before it.
func TestSliceLeavesWhatWasPeekedSinceTheLastSlice(t *testing.T) {
	SetMemoryDebug(func(err error) { t.Error(err) })
	defer SetMemoryDebug(nil)
	b := new(LinkBuffer)
	for range 3 {
		n := copy(b.book(4096), "abcdefgh")
		b.bookAck(n)
		head, err := b.Peek(4)
		require.NoError(t, err)
		r, err := b.Slice(n)
		require.NoError(t, err)
		require.NoError(t, r.(io.Closer).Close())
		require.Equal(t, "abcd", string(head))
	}
}

// A program that only slices, as multiplexers do, does not collect memory.
func TestSlicingWithoutReleaseDoesNotCollectMemory(t *testing.T) {
	b := new(LinkBuffer)
	for range 1000 {
		n := copy(b.book(4096), strings.Repeat("x", 3000))
		b.bookAck(n)
		_, err := b.Peek(4)
		require.NoError(t, err)
		r, err := b.Slice(n)
		require.NoError(t, err)
		require.NoError(t, r.(io.Closer).Close())
		require.LessOrEqual(t, heldBytes(b), 3*4096)
	}
}

// Behaviour 8.1: an empty buffer holds no memory, and costs little itself.
func TestReleasedBufferHoldsNothing(t *testing.T) {
	require.LessOrEqual(t, unsafe.Sizeof(LinkBuffer{}), uintptr(128))
	b := new(LinkBuffer)
	for _, size := range []int{1, 1000, 100_000} {
		n := copy(b.book(size), make([]byte, size))
		require.Equal(t, n, b.bookAck(n))
		_, err := b.Next(n)
		require.NoError(t, err)
		require.NoError(t, b.Release())
		requireHoldsNothing(t, b)
	}
	b.book(1000) // nothing comes
	require.Equal(t, 0, b.bookAck(0))
	requireHoldsNothing(t, b)
}

// Behaviour 8.1: the consumer releases everything while the producer waits for more in the same block.
func TestReleaseDuringReceiveHoldsNothing(t *testing.T) {
	for _, arrives := range []int{0, 5} {
		b := written(t, "abcd")
		p := b.book(64)
		require.NoError(t, b.Skip(4))
		require.NoError(t, b.Release())
		copy(p, "efghi")
		require.Equal(t, arrives, b.bookAck(arrives))
		require.Equal(t, "efghi"[:arrives], string(b.Bytes()))
		require.NoError(t, b.Skip(arrives))
		require.NoError(t, b.Release())
		requireHoldsNothing(t, b)
	}
}

// The same when the producer had begun to write behind it: the block is given back as soon as it is of no use.
func TestReleaseDuringWriteHoldsOnlyWhatIsWritten(t *testing.T) {
	b := written(t, "abcd")
	_ = malloc(t, b, strings.Repeat("x", 20_000))
	require.NoError(t, b.Skip(4))
	require.NoError(t, b.Release())
	require.NoError(t, b.Flush())
	require.Equal(t, 32<<10, heldBytes(b))
	require.Equal(t, 20_000, b.Len())
}

func TestNewLinkBufferKeepsOneSmallBlock(t *testing.T) {
	b := NewLinkBuffer()
	for range 100 {
		_ = malloc(t, b, strings.Repeat("x", 1500))
		require.NoError(t, b.Flush())
		require.NoError(t, b.Skip(1500))
		require.NoError(t, b.Release())
		require.LessOrEqual(t, heldBytes(b), maxWarm)
	}
	_ = malloc(t, b, strings.Repeat("x", 100_000))
	require.NoError(t, b.Flush())
	require.NoError(t, b.Skip(100_000))
	require.NoError(t, b.Release())
	require.LessOrEqual(t, heldBytes(b), maxWarm)
	require.Equal(t, 20_000, len(malloc(t, NewLinkBuffer(20_000), strings.Repeat("x", 20_000))))
}

func TestNewLinkBufferKeepsNoBlockBesideTheTail(t *testing.T) {
	b := NewLinkBuffer()
	for range 2 {
		_ = malloc(t, b, strings.Repeat("x", 3000))
		require.NoError(t, b.Flush())
	}
	_, err := b.Peek(6000)
	require.NoError(t, err)
	require.NoError(t, b.Release())
	require.NoError(t, b.Skip(6000))
	require.NoError(t, b.Release())
	require.LessOrEqual(t, heldBytes(b), maxWarm, "the merged block stayed")

	b = NewLinkBuffer()
	_ = malloc(t, b, strings.Repeat("x", 2*maxWarm))
	require.NoError(t, b.Flush())
	_ = malloc(t, b, "x")
	require.NoError(t, b.Flush())
	require.NoError(t, b.Skip(b.Len()))
	require.NoError(t, b.Release())
	require.Nil(t, b.tail.Load(), "a block that is gone is still pointed to")
	require.LessOrEqual(t, heldBytes(b), maxWarm)
}

func TestManySmallReceivesShareABlock(t *testing.T) {
	b := new(LinkBuffer)
	for range 1000 {
		copy(b.book(4096), "0123456789")
		b.bookAck(10)
	}
	require.Equal(t, 10_000, b.Len())
	require.LessOrEqual(t, heldBytes(b), 6*4096)
}

func TestReadCopyFreesWhatTheUserDoesNotKnow(t *testing.T) {
	b := written(t, "abcd", "efgh", "ijkl")
	shown, err := b.Next(2)
	require.NoError(t, err)
	p := make([]byte, 20)
	require.Equal(t, 7, b.readCopy(p[:7]))
	require.Equal(t, "cdefghi", string(p[:7]))
	require.Equal(t, 2*LinkBufferCap, heldBytes(b), "the block in the middle is free")
	require.Equal(t, "ab", string(shown))
	require.Equal(t, 3, b.readCopy(p))
	require.Equal(t, "jkl", string(p[:3]))
	require.NoError(t, b.Release())
	require.Equal(t, 0, b.readCopy(p))
	requireHoldsNothing(t, b)

	b = written(t, "abcd", "efgh")
	require.Equal(t, 8, b.readCopy(p))
	requireHoldsNothing(t, b)

	b = NewLinkBuffer()
	_ = malloc(t, b, strings.Repeat("x", 3000))
	require.NoError(t, b.Flush())
	_, err = b.Next(3000)
	require.NoError(t, err)
	require.NoError(t, b.Release()) // ends what Next returned, though the block stays
	_ = malloc(t, b, strings.Repeat("x", 3000))
	require.NoError(t, b.Flush())
	require.Equal(t, 3000, b.readCopy(make([]byte, 3000)))
	require.LessOrEqual(t, heldBytes(b), LinkBufferCap)
}

// A connection's end leaves the slices that the user still holds as they are, and gives back everything else.
func TestAbandonLeavesShownMemoryAlone(t *testing.T) {
	SetMemoryDebug(func(err error) { t.Error(err) })
	defer SetMemoryDebug(nil)
	before := blocksOut.Load()
	b := written(t, "abcd", "efgh", "ijkl")
	require.NoError(t, b.Skip(4))
	shown, err := b.Next(2)
	require.NoError(t, err)
	r, err := b.Slice(3)
	require.NoError(t, err)
	filling := malloc(t, b, "mnop")
	b.abandon()
	copy(filling, "MNOP") // too late, but harmless
	require.Equal(t, "ef", string(shown))
	s, err := r.ReadString(3)
	require.NoError(t, err)
	require.Equal(t, "ghi", s)
	require.NoError(t, r.Release())
	require.Equal(t, "ef", string(shown), "the block went to the pool although the user knows it")
	requireHoldsNothing(t, b)
	require.Equal(t, before, blocksOut.Load(), "blocks still in use")
}

func TestGetBytesFillsTheCallersSlice(t *testing.T) {
	b := written(t, "abc", "de", "f")
	var two [2][]byte
	vs := b.GetBytes(two[:])
	require.Equal(t, "abc|de", string(bytes.Join(vs, []byte("|"))))
	require.Equal(t, unsafe.SliceData(two[:]), unsafe.SliceData(vs))
	require.Equal(t, "abc|de|f", string(bytes.Join(b.GetBytes(nil), []byte("|"))))
	require.NoError(t, b.Skip(4))
	require.Equal(t, "e|f", string(bytes.Join(b.GetBytes(make([][]byte, 9)), []byte("|"))))
	require.Empty(t, new(LinkBuffer).GetBytes(two[:]))
	require.Empty(t, new(LinkBuffer).GetBytes(nil))
}

func TestCountersOnlyGrow(t *testing.T) {
	b := written(t, "abcdef")
	require.NoError(t, b.Skip(2))
	require.Equal(t, uint64(6), b.received())
	require.Equal(t, uint64(2), b.consumed())
	require.NoError(t, b.Close())
	require.Equal(t, uint64(6), b.received())
	require.Equal(t, uint64(6), b.consumed())
}

// poolsRemember reports whether sync.Pool returns what was put; with the race detector it forgets at random.
func poolsRemember() bool {
	var pool sync.Pool
	for range 100 {
		pool.Put(new(int))
		if pool.Get() == nil {
			return false
		}
	}
	return true
}

// The steady state of a connection, and of a program that encodes and decodes, allocates nothing.
func TestSteadyStateAllocatesNothing(t *testing.T) {
	var in, out LinkBuffer
	warm := NewLinkBuffer()
	payload := make([]byte, 1024)
	var vec [8][]byte
	allocs := testing.AllocsPerRun(1000, func() {
		in.book(4096)
		in.bookAck(1028)
		_, _ = in.Peek(4)
		_, _ = in.Next(1028)
		_ = in.Release()
		_, _ = out.Malloc(4)
		_ = out.WriteDirect(payload, 2)
		_ = out.Flush()
		out.GetBytes(vec[:])
		_ = out.Skip(1028)
		_ = out.Release()
		for range 6 {
			_, _ = warm.WriteBinary(payload)
		}
		_ = warm.MallocAck(5000)
		_ = warm.Flush()
		_, _ = warm.Peek(4500)
		_, _ = warm.Next(5000)
		_ = warm.Release()
	})
	require.True(t, in.IsEmpty() && out.IsEmpty() && warm.IsEmpty())
	if poolsRemember() {
		require.Zero(t, allocs)
	}
}
