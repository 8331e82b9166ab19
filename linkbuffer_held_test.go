package netpoll

// How much memory a LinkBuffer holds beyond that of unread bytes.

import (
	"bytes"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

// A window that slides over the stream copies each byte about once, and what it leaves behind is about what was read.
func TestSlidingPeekHoldsAboutWhatWasRead(t *testing.T) {
	for _, window := range []int{4096, 64 << 10} {
		b := written(t, string(make([]byte, window)), string(make([]byte, 4*window)))
		for range window / 8 {
			_, err := b.Peek(window)
			require.NoError(t, err)
			require.NoError(t, b.Skip(1))
		}
		require.LessOrEqual(t, heldBytes(b), 12*window, "window %d", window)
		require.NoError(t, b.Close())
	}
}

// A Slice holds its own block and not what was behind it.
func TestSliceDoesNotHoldTheNextBlock(t *testing.T) {
	b := written(t, string(make([]byte, LinkBufferCap)), "behind")
	part, err := b.Slice(LinkBufferCap)
	require.NoError(t, err)
	first := &part.(*LinkBuffer).read.blk.first
	_, err = b.Next(6)
	require.NoError(t, err)
	require.NoError(t, b.Release())
	require.NoError(t, b.Close())
	require.Nil(t, first.next)
	require.NoError(t, part.(io.Closer).Close())
}

// A program that looks with Peek and takes with Read holds little, without a Release. A slice of Peek outlives one
// Read.
func TestPeekAndReadHoldLittle(t *testing.T) {
	b := NewLinkBuffer()
	buf := make([]byte, 4096)
	for name, read := range map[string]func() (int, error){
		"copy":    func() (int, error) { return b.readCopy(buf), nil },
		"adapter": func() (int, error) { return NewIOReader(b).Read(buf) },
	} {
		for range 100 {
			copy(malloc(t, b, string(bytes.Repeat([]byte("x"), 4096))), "look")
			require.NoError(t, b.Flush())
			p, err := b.Peek(4)
			require.NoError(t, err)
			n, err := read()
			require.NoError(t, err)
			require.Equal(t, 4096, n)
			require.Equal(t, "look", string(p))
		}
		require.LessOrEqual(t, heldBytes(b), 4*4096, name)
	}
	require.NoError(t, b.Close())
}

// A connection's end leaves memory that the user still reads, also if no goroutine was writing at that moment.
func TestAbandonLeavesWhatTheUserReads(t *testing.T) {
	SetMemoryDebug(func(err error) { t.Error(err) })
	defer SetMemoryDebug(nil)
	before := blocksOut.Load()
	b := written(t, "abcd", "efgh")
	shown, err := b.Next(2)
	require.NoError(t, err)
	peeked, err := b.Peek(4) // over two blocks
	require.NoError(t, err)
	b.abandon()
	require.Equal(t, "ab", string(shown), "the block went to the pool although the user knows it")
	require.Equal(t, "cdef", string(peeked), "the block went to the pool although the user knows it")
	require.Equal(t, before, blocksOut.Load(), "blocks still in use")
}
