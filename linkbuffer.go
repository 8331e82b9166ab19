package netpoll

// This file holds the LinkBuffer type, its counters, and the hand-over between its two sides: how published memory
// gets from the producer to the consumer, and how the last node of the chain gets back to the side that needs it. What the
// consumer does is in linkbuffer_read.go, what the producer does in linkbuffer_write.go, memory in block.go.

import (
	"sync/atomic"
)

// BinaryInplaceThreshold is the number of bytes up to which WriteBinary and WriteString copy. Longer arguments are
// referenced where they are.
const BinaryInplaceThreshold = 4096

// LinkBufferCap is the least capacity, in bytes, of the blocks that writing into a [LinkBuffer] takes. Set it before
// any LinkBuffer is in use; it is read without synchronization.
var LinkBufferCap = 4096

// UnsafeLinkBuffer is the same type as [LinkBuffer].
type UnsafeLinkBuffer = LinkBuffer

var (
	_ Reader = (*LinkBuffer)(nil)
	_ Writer = (*LinkBuffer)(nil)
)

// LinkBuffer is a chain of memory blocks: written at one end and read at the other, without needless copies. The zero
// value is empty and ready to use. It must not be copied after first use.
//
// One producer and one consumer may use it at the same time, without a lock:
//
//   - the producer calls the methods of [Writer] and WriteBuffer;
//   - the consumer calls the methods of [Reader], Bytes and GetBytes;
//   - Len and IsEmpty may be called from any goroutine;
//   - Close, and being the argument of Append or WriteBuffer, need both sides to be quiet.
//
// No method blocks. Reading more bytes than it holds is an error, and so is every misuse; no method panics. After
// Close, and after its blocks were moved away by Append, a LinkBuffer is empty and can be used again.
//
// # Hand-over
//
// The word joins the number of bytes ever published with the state of the last published node, the tail. The tail is
// special because both sides have a use for it: the producer writes into its free space and links new nodes behind it,
// and the consumer frees it when everything has been read, so that an empty buffer holds no memory.
//
//	state     meaning                                          goes to
//	empty     the consumer holds no node; the producer's       free: producer publishes (store)
//	          next publication comes through entry
//	free      neither side has claimed the tail                held:  producer starts writing (compare and swap)
//	                                                           empty: consumer has read everything and frees the
//	                                                                  tail (compare and swap)
//	held      the producer writes into the tail, plans       free:  producer publishes or gives up (compare and swap)
//	          to link behind it, or keeps it warm              left:  consumer has read everything and lets go of
//	                                                                  the tail (compare and swap)
//	left      the tail belongs to the producer alone           free:  producer publishes through entry (store)
//	                                                           empty: producer gives up and frees the tail (store)
//
// If a compare and swap fails, the other side has made its move, so neither side waits. The consumer's moves name the
// number of bytes it has read, so they fail if anything was published meanwhile. In a state out of which only one side
// may move, that side stores.
//
// Nodes that are not published yet are linked among themselves but not to the tail. The link from the tail is set just
// before the word is, so the consumer follows a link only when the word says that there are bytes behind it.
type LinkBuffer struct {
	word  atomic.Uint64        // bytes published << stateBits | state; see the table
	taken atomic.Uint64        // bytes taken; stored by the consumer
	tail  atomic.Pointer[node] // last published node; stored by the producer, cleared by the consumer that frees it
	entry *node                // first node for a consumer that holds none; written and read on either side of word

	head *node // consumer: the oldest node kept until Release; nil if it holds none
	read *node // consumer: the node to read from

	base      *node // producer: the tail while it is held
	pending   *node // producer: the first node that is not published
	last      *node // producer: where the next bytes go: the end of pending, or base; nil unless writing
	roomy     *node // producer: the node before last whose room is still free, if last has none
	mark      int   // producer: where in base the unpublished bytes begin
	mallocLen int   // producer: unpublished bytes
	hint      int32 // producer: capacity for the first block, if set
	warm      bool  // the producer keeps a small tail when it has published; does not change. See maxWarm
}

// maxWarm is the largest block that a buffer from [NewLinkBuffer] keeps. That saves taking the block from its pool and
// giving it back for each message of a buffer that is used again: half of the time for up to 1 KiB, and nothing from 4 KiB
// on, where the copy counts. docs/design.md has the figures.
const maxWarm = 8 << 10

// The states of the tail; see [LinkBuffer].
const (
	stateEmpty uint64 = iota
	stateFree
	stateHeld
	stateLeft

	stateBits = 2
	stateMask = 1<<stateBits - 1
)

// withState returns the word w with another state.
func withState(w, state uint64) uint64 { return w&^stateMask | state }

// NewLinkBuffer returns an empty LinkBuffer. If size is given, the first block it takes has room for that many bytes.
//
// The zero value holds no memory when it is empty and released. A buffer from NewLinkBuffer keeps one small block to
// write into until Close, which makes small writes cheaper.
func NewLinkBuffer(size ...int) *LinkBuffer {
	b := &LinkBuffer{warm: true}
	if len(size) > 0 {
		b.hint = int32(min(max(size[0], 0), 1<<maxBlockBits))
	}
	return b
}

// Len returns the number of readable bytes. It may be called from any goroutine; for a goroutine that is neither the
// reader nor the writer, bytes that were read during the call may be among them.
func (b *LinkBuffer) Len() int {
	consumed := b.taken.Load() // first, so that the difference is never negative
	return int(b.received() - consumed)
}

// IsEmpty reports whether there is nothing to read. It may be called from any goroutine.
func (b *LinkBuffer) IsEmpty() bool { return b.Len() == 0 }

// received returns the number of bytes ever published. It may be called from any goroutine.
func (b *LinkBuffer) received() uint64 { return b.word.Load() >> stateBits }

// consumed returns the number of bytes ever taken. It may be called from any goroutine.
func (b *LinkBuffer) consumed() uint64 { return b.taken.Load() }

// hold claims the tail, if there is one, for the producer.
func (b *LinkBuffer) hold() {
	if b.last != nil {
		return
	}
	w := b.word.Load()
	if w&stateMask == stateFree && b.word.CompareAndSwap(w, withState(w, stateHeld)) {
		t := b.tail.Load()
		b.base, b.last, b.mark = t, t, t.end
	}
}

// publish hands n bytes to the consumer: those of base beyond mark, and all of pending.
func (b *LinkBuffer) publish(n int) {
	if base := b.base; b.warm && b.pending == nil && b.keepsWarm(base) {
		b.mark = base.end
		b.word.Add(uint64(n) << stateBits) // it stays held: the consumer of a warm buffer does not let go of it
		return
	}
	w := b.word.Load()
	next := (w>>stateBits + uint64(n)) << stateBits
	first, base, mark := b.pending, b.base, b.mark
	if last := b.last; b.keepsWarm(last) {
		next |= stateHeld
		b.base, b.mark, b.pending, b.roomy = last, last.end, nil, nil
		b.setTail(nil)
	} else {
		next |= stateFree
		b.forgetWriting()
		b.setTail(last)
	}
	if base != nil {
		if first != nil {
			base.publishNext(first)
		}
		if w&stateMask == stateHeld && b.word.CompareAndSwap(w, next) {
			return
		}
		base.off = mark // the consumer has read all bytes before and left the node
		first = trimEmpty(base)
	}
	b.entry = first
	b.word.Store(next)
}

// keepsWarm reports whether the producer goes on holding nd as the tail.
func (b *LinkBuffer) keepsWarm(nd *node) bool {
	return b.warm && nd.blk != nil && len(nd.blk.first.buf) <= maxWarm
}

// setTail is called by the producer, before it stores a word that says free. It avoids a store, which costs more than a
// load.
func (b *LinkBuffer) setTail(nd *node) {
	if b.tail.Load() != nd {
		b.tail.Store(nd)
	}
}

// trimEmpty frees nd if it is empty, and returns the first node of the chain that is left.
func trimEmpty(nd *node) *node {
	nd.shown, nd.aged, nd.followed = false, false, false
	if nd.off < nd.end {
		return nd
	}
	next := nd.next
	nd.free()
	return next
}

// giveUp ends writing without publishing anything. There are no unpublished bytes left.
func (b *LinkBuffer) giveUp() {
	base := b.base
	b.forgetWriting()
	if base == nil {
		return
	}
	if b.keepsWarm(base) {
		b.base, b.last = base, base
		return
	}
	w := b.word.Load()
	if w&stateMask == stateHeld && b.word.CompareAndSwap(w, withState(w, stateFree)) {
		return
	}
	b.tail.Store(nil)
	base.free()
	b.word.Store(withState(b.word.Load(), stateEmpty))
}

func (b *LinkBuffer) forgetWriting() {
	b.base, b.pending, b.last, b.roomy = nil, nil, nil, nil
}

// letGo is called by the consumer when it has read everything: it needs no node any more, and read, the tail, is the
// only one left. Nothing happens if there are new bytes, or if the producer keeps the tail warm.
func (b *LinkBuffer) letGo() {
	done := b.taken.Load()
	for w := b.word.Load(); w>>stateBits == done; w = b.word.Load() {
		if w&stateMask == stateHeld {
			if b.warm {
				return
			}
			if b.word.CompareAndSwap(w, withState(w, stateLeft)) {
				b.head, b.read = nil, nil
				return
			}
			continue // the producer has moved on
		}
		if b.word.CompareAndSwap(w, withState(w, stateEmpty)) {
			t := b.read
			b.head, b.read = nil, nil
			b.tail.CompareAndSwap(t, nil) // unless there is a new one; t itself can't be it before it is freed
			t.free()
			return
		}
	}
}

// Close frees all memory, including what was handed out by Next, Peek and Malloc. Neither side may be active.
func (b *LinkBuffer) Close() error {
	b.reset((*node).free)
	return nil
}

// abandon empties the buffer for a connection's end; neither side may be active. Memory that was shown to the user
// since the last Release, or is being written by the user, is left to the garbage collector: slices of it stay valid.
func (b *LinkBuffer) abandon() {
	unfinished := b.mallocLen > 0
	b.reset(func(nd *node) {
		if nd.shown || unfinished {
			nd.drop()
		} else {
			nd.free()
		}
	})
}

// reset empties the buffer, calling dispose for each node.
func (b *LinkBuffer) reset(dispose func(*node)) {
	w := b.word.Load()
	chain := b.head
	if chain == nil {
		chain = b.entry
	}
	if w&stateMask == stateLeft {
		dispose(b.base)
	}
	disposeChain(chain, dispose)
	disposeChain(b.pending, dispose)
	b.forgetWriting()
	b.head, b.read, b.entry = nil, nil, nil
	b.tail.Store(nil)
	b.mallocLen, b.hint = 0, 0
	b.taken.Store(w >> stateBits)
	b.word.Store(withState(w, stateEmpty))
}

func disposeChain(nd *node, dispose func(*node)) {
	for nd != nil {
		next := nd.next
		dispose(nd)
		nd = next
	}
}
