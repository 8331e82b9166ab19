package netpoll

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A connection's end leaves what the user still reads, also if nobody was writing at that moment.
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
