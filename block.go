package netpoll

// This file holds the memory of LinkBuffers: blocks with a reference count, pooled by size, and nodes, which are
// windows on a block or on memory of the user.

import (
	"math/bits"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/bytedance/gopkg/lang/dirtmake"

	"github.com/cloudwego/netpoll/internal/metric"
)

// Blocks come in powers of two. Larger ones than the largest class come from the heap and go back there.
const (
	minBlockBits = 6  // 64 B
	maxBlockBits = 23 // 8 MiB
	blockClasses = maxBlockBits - minBlockBits + 1
	noClass      = -1
	retiredClass = -2 // released in memory debug mode, which does not use a block again
)

// blockPools has a pool of *block for each class. A block keeps its memory and its first window in the pool, so that
// one access gives all three.
var blockPools [blockClasses]sync.Pool

// nodePool holds windows that are not of a block, or the third and later ones on it.
var nodePool = sync.Pool{New: func() any { return new(node) }}

// block is a piece of memory shared by the windows on it.
type block struct {
	first   node         // the window that the block is taken with
	second  node         // for one more, so that it need not come from the pool; whose it is says secondTaken in refs
	refs    atomic.Int32 // windows on the block, secondTaken, and keptForUser; 1 in the pool
	class   int32
	tracked bool // counted by the memory debug mode; set before the block is shared
}

const (
	// keptForUser in refs says that the user may hold slices of the block, which must not go to a pool any more.
	keptForUser = 1 << 30
	// secondTaken in refs says that the second window is in use.
	secondTaken = 1 << 29
)

// node is a window on memory: [off, end) is data, [end, lim) is room that belongs to this window alone.
//
// While a node is unpublished it belongs to the producer. Once published, the consumer owns off and the marks, and
// the producer owns end and lim until there is a published node behind it. The rest does not change.
type node struct {
	next *node // see loadNext
	buf  []byte
	off  int
	end  int
	lim  int
	blk  *block // nil for memory of the user

	fixed    bool // the memory is not this window's alone: bytes that are cut off do not become room
	shown    bool // the user was given a slice of it that Release ends
	aged     bool // it was kept by one Slice or Read already; the next one frees it
	followed bool // next was published before this node was made
}

// loadNext returns the node behind nd. The consumer of a published node must use it, because the producer may be
// linking a node behind the tail. Other links are made while one side owns both nodes, and are plain reads and writes,
// which are several times cheaper than atomic ones.
func (nd *node) loadNext() *node {
	return (*node)(atomic.LoadPointer((*unsafe.Pointer)(unsafe.Pointer(&nd.next))))
}

// publishNext links next behind nd, the tail.
func (nd *node) publishNext(next *node) {
	atomic.StorePointer((*unsafe.Pointer)(unsafe.Pointer(&nd.next)), unsafe.Pointer(next))
}

// classOf returns the smallest class that holds n bytes, or noClass.
func classOf(n int) int {
	if n > 1<<maxBlockBits {
		return noClass
	}
	return max(bits.Len(uint(max(n, 1)-1)), minBlockBits) - minBlockBits
}

// newBlock returns the first window of a block that has room for n bytes at least.
func newBlock(n int) *node {
	class := classOf(n)
	var blk *block
	if class != noClass {
		blk, _ = blockPools[class].Get().(*block)
	}
	if blk == nil {
		blk = makeBlock(n, class)
	}
	if d := memoryDebug.Load(); d != nil {
		d.taken(blk)
	}
	return &blk.first
}

func makeBlock(n, class int) *block {
	if class != noClass {
		n = 1 << (class + minBlockBits)
	}
	metric.Blocks.Made.Add(1)
	metric.Blocks.Bytes.Add(uint64(n))
	blk := &block{class: int32(class)}
	blk.first.buf = dirtmake.Bytes(n, n)
	blk.first.lim = n
	blk.first.blk = blk
	blk.refs.Store(1)
	return blk
}

// unref ends one window on the block, which takes so much from refs: 1, and secondTaken if it is the second. The last
// one gives the block back.
func (blk *block) unref(window int32) {
	if blk.refs.Load() != 1 { // a lone owner need not decrement
		switch blk.refs.Add(-window) {
		case 0:
			blk.refs.Store(1) // as every block that is not in use
		case keptForUser:
			blk.untrack()
			return
		default:
			return
		}
	}
	first := &blk.first
	first.reset()
	first.lim = len(first.buf)
	if blk.tracked {
		blk.untrack()
		if d := memoryDebug.Load(); d != nil {
			d.released(blk)
			return
		}
	}
	switch {
	case blk.class >= 0:
		blockPools[blk.class].Put(blk)
	case blk.class == retiredClass:
		reportReleasedTwice()
	}
}

func (blk *block) untrack() {
	if blk.tracked {
		blk.tracked = false
		blocksOut.Add(-1)
	}
}

// newWindow returns a window on p, which is all data and has no room. If p is memory of blk, the window keeps the
// block.
func newWindow(p []byte, blk *block, fixed bool) *node {
	var nd *node
	if blk != nil {
		nd = blk.another()
	}
	if nd == nil {
		nd = nodePool.Get().(*node)
	}
	nd.buf, nd.end, nd.lim, nd.blk, nd.fixed = p, len(p), len(p), blk, fixed
	return nd
}

// another counts one more window on the block. It returns the second one of the block, or nil if that is in use. Both
// sides of a buffer may call it at the same time.
func (blk *block) another() *node {
	if refs := blk.refs.Load(); refs&secondTaken == 0 && blk.refs.CompareAndSwap(refs, refs+1+secondTaken) {
		return &blk.second
	}
	blk.refs.Add(1)
	return nil
}

// data returns the first n bytes of the node's data, with a capacity of n.
func (nd *node) data(n int) []byte { return nd.buf[nd.off : nd.off+n : nd.off+n] }

// cut takes away the data from position at on.
func (nd *node) cut(at int) {
	nd.end = at
	if nd.fixed {
		nd.lim = at
	}
}

// room returns the size of the node's free space.
func (nd *node) room() int { return nd.lim - nd.end }

// take makes n bytes of the free space data and returns them, with a capacity of n.
func (nd *node) take(n int) []byte {
	start := nd.end
	nd.end += n
	return nd.buf[start:nd.end:nd.end]
}

// reset clears everything that depends on the node's use, but not its memory.
func (nd *node) reset() {
	nd.next, nd.off, nd.end = nil, 0, 0
	nd.shown, nd.aged, nd.followed = false, false, false
}

// free ends the window. Its owner must not use it afterwards.
func (nd *node) free() {
	blk := nd.blk
	if blk != nil && nd == &blk.first {
		nd.next = nil // a Slice may keep the block for long, and must not keep what was behind it
		blk.unref(1)
		return
	}
	nd.reset()
	nd.buf, nd.lim, nd.blk = nil, 0, nil
	switch {
	case blk == nil:
		nodePool.Put(nd)
	case nd == &blk.second:
		blk.unref(1 + secondTaken)
	default:
		nodePool.Put(nd)
		blk.unref(1)
	}
}

// drop ends the window, and leaves its memory to the garbage collector when the other windows on it have ended too.
func (nd *node) drop() {
	if nd.blk != nil {
		nd.blk.refs.Or(keptForUser)
	}
	nd.free()
}
