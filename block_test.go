package netpoll

// This file holds the tests of blocks and their pools.

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBlockClassesArePowersOfTwo(t *testing.T) {
	for _, tc := range []struct{ ask, get int }{
		{0, 64}, {1, 64}, {64, 64}, {65, 128}, {4096, 4096}, {4097, 8192}, {8 << 20, 8 << 20}, {8<<20 + 1, 8<<20 + 1},
	} {
		nd := newBlock(tc.ask)
		require.Equal(t, tc.get, nd.room(), "asked for %d", tc.ask)
		nd.free()
	}
}

// A block is ready for its next user, whichever goroutine was the last to end a window on it.
func TestBlockReturnsAsNew(t *testing.T) {
	for _, firstEndsFirst := range []bool{true, false} {
		first := newBlock(100)
		blk := first.blk
		first.take(50)
		first.off, first.shown = 10, true
		window := newWindow(first.data(10), blk, true)
		require.Same(t, &blk.second, window, "which need not come from the pool")
		third := newWindow(first.data(10), blk, true)
		require.NotSame(t, &blk.second, third)
		third.free()
		require.Equal(t, int32(2|secondTaken), blk.refs.Load())
		if firstEndsFirst {
			first.free()
			window.free()
		} else {
			window.free()
			first.free()
		}
		require.Equal(t, int32(1), blk.refs.Load())
		require.Equal(t, node{buf: blk.first.buf, lim: 128, blk: blk}, blk.first)
		require.Equal(t, node{fixed: true}, blk.second)
	}
}
