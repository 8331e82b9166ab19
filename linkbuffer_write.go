package netpoll

// This file holds the producer's side of LinkBuffer: writing, and receiving straight into a block.
//
// The unpublished bytes are, in order, those in base from mark on, and those in the nodes of pending.

import (
	"fmt"
	"unsafe"
)

const (
	// maxGrowth limits how far the blocks of one large reply, written in small pieces, grow beyond LinkBufferCap.
	maxGrowth = 32 << 10
	// maxMalloc limits one Malloc; larger sizes are taken for a mistake, such as a length field that was not checked.
	maxMalloc = 1 << 30
	// minRoom is the least free space that is worth a window of its own.
	minRoom = 64
	// minBooking is the least free space of the tail that is worth receiving into, if more was asked for.
	minBooking = 512
)

// grow returns the node to write n contiguous bytes into. n is positive.
func (b *LinkBuffer) grow(n int) *node {
	if b.last == nil {
		b.hold()
	}
	if nd := b.last; nd != nil && nd.room() >= n {
		return nd
	}
	if nd := b.roomy; nd != nil && nd.room() >= n {
		w := newWindow(nd.buf[nd.end:nd.lim], nd.blk, false)
		w.end = 0
		nd.lim = nd.end
		b.roomy = nil
		b.attach(w, w)
		return w
	}
	nd := newBlock(b.blockSize(n))
	b.attach(nd, nd)
	return nd
}

// blockSize is the size to ask for when n bytes are needed: each block that is filled before a Flush is followed by one
// of twice the size, so that a large reply written in small pieces does not become a long chain.
func (b *LinkBuffer) blockSize(n int) int {
	size := max(n, LinkBufferCap, int(b.hint))
	b.hint = 0
	if b.pending != nil && b.last.blk != nil {
		size = max(size, min(2*len(b.last.buf), maxGrowth))
	}
	return size
}

// attach links a chain behind the unpublished bytes. The producer holds the tail.
func (b *LinkBuffer) attach(first, last *node) {
	if b.pending == nil {
		b.pending = first
	} else {
		b.last.next = first
	}
	b.last = last
}

// reference links memory of the user behind the unpublished bytes.
func (b *LinkBuffer) reference(p []byte) {
	b.holdForMore()
	nd := newWindow(p[:len(p):len(p)], nil, true)
	b.attach(nd, nd)
	b.mallocLen += len(p)
}

// holdForMore is hold before a node without room goes behind last. It remembers the room of last.
func (b *LinkBuffer) holdForMore() {
	b.hold()
	if nd := b.last; nd != nil && nd.room() >= minRoom {
		b.roomy = nd
	}
}

// Malloc implements [Writer]. The slice is valid until Flush, and its length and capacity are n. More
// than 1 GiB in one piece is an error that Is [ErrBufferMisuse].
func (b *LinkBuffer) Malloc(n int) (p []byte, err error) {
	if n <= 0 {
		return nil, nil
	}
	if n > maxMalloc {
		return nil, fmt.Errorf("%w: Malloc of %d bytes", ErrBufferMisuse, n)
	}
	nd := b.grow(n)
	b.mallocLen += n
	return nd.take(n), nil
}

// MallocLen implements [Writer]: the number of bytes written, in whatever way, since the last Flush.
func (b *LinkBuffer) MallocLen() int { return b.mallocLen }

// WriteBinary implements [Writer]. Up to [BinaryInplaceThreshold] bytes are copied; longer slices are referenced, and
// must not be changed before they have been read or, in a connection, before Flush returned nil.
func (b *LinkBuffer) WriteBinary(p []byte) (n int, err error) {
	n = len(p)
	if n == 0 {
		return 0, nil
	}
	checkReleased(p)
	if n > BinaryInplaceThreshold {
		b.reference(p)
		return n, nil
	}
	nd := b.grow(n)
	b.mallocLen += n
	return copy(nd.take(n), p), nil
}

// WriteString implements [Writer]. It works like WriteBinary.
func (b *LinkBuffer) WriteString(s string) (n int, err error) {
	return b.WriteBinary(unsafe.Slice(unsafe.StringData(s), len(s)))
}

// WriteByte implements [Writer].
func (b *LinkBuffer) WriteByte(c byte) error {
	nd := b.grow(1)
	b.mallocLen++
	nd.take(1)[0] = c
	return nil
}

// WriteDirect implements [Writer]: it puts p, by reference, before the last remain unpublished bytes. More than there
// are is an error that Is [ErrBufferMisuse].
func (b *LinkBuffer) WriteDirect(p []byte, remain int) error {
	switch {
	case len(p) == 0:
		return nil
	case remain < 0 || remain > b.mallocLen:
		return fmt.Errorf("%w: %d bytes to remain of %d", ErrBufferMisuse, remain, b.mallocLen)
	}
	checkReleased(p)
	if remain == 0 {
		b.reference(p)
		return nil
	}
	mid := newWindow(p[:len(p):len(p)], nil, true)
	prev, at := b.locate(b.mallocLen - remain)
	b.mallocLen += len(p)
	if prev == nil {
		mid.next = b.pending
		b.pending = mid
		return nil
	}
	if at < prev.end {
		b.split(prev, at)
	}
	if prev == b.base {
		mid.next = b.pending
		b.pending = mid
	} else {
		mid.next = prev.next
		prev.next = mid
	}
	return nil
}

// locate finds the position behind the first n unpublished bytes: in nd, before its byte at, which may be its end. A
// nil nd means before pending.
func (b *LinkBuffer) locate(n int) (nd *node, at int) {
	if base := b.base; base != nil {
		if l := base.end - b.mark; l >= n {
			return base, b.mark + n
		} else {
			n -= l
		}
	} else if n == 0 {
		return nil, 0
	}
	nd = b.pending
	for n > nd.end-nd.off {
		n -= nd.end - nd.off
		nd = nd.next
	}
	return nd, nd.off + n
}

// split moves the data of nd from at on, and its room, to a new node behind it.
func (b *LinkBuffer) split(nd *node, at int) {
	rest := newWindow(nd.buf[at:nd.lim], nd.blk, nd.fixed)
	rest.end = nd.end - at
	nd.end, nd.lim = at, at
	if nd == b.base {
		rest.next = b.pending
		b.pending = rest
	} else {
		rest.next = nd.next
		nd.next = rest
	}
	if b.last == nd {
		b.last = rest
	}
}

// MallocAck implements [Writer]: it keeps the first n unpublished bytes and discards the rest. More than there are is
// an error that Is [ErrBufferMisuse].
func (b *LinkBuffer) MallocAck(n int) error {
	if n < 0 || n > b.mallocLen {
		return fmt.Errorf("%w: acknowledging %d of %d bytes", ErrBufferMisuse, n, b.mallocLen)
	}
	if n == b.mallocLen {
		return nil
	}
	b.roomy = nil
	b.mallocLen = n
	if n > 0 && b.pending == nil {
		b.base.cut(b.mark + n) // as nearly always: it is all in one node
		return nil
	}
	nd, at := b.locate(n)
	var rest *node
	if nd == nil || nd == b.base {
		rest = b.pending
		b.pending = nil
	} else {
		rest = nd.next
		nd.next = nil
	}
	if nd != nil {
		nd.cut(at)
	}
	b.last = nd
	disposeChain(rest, (*node).free)
	if n == 0 {
		b.giveUp()
	}
	return nil
}

// Flush implements [Writer]: it makes what was written readable. It returns nil.
func (b *LinkBuffer) Flush() error {
	if n := b.mallocLen; n > 0 {
		b.mallocLen = 0
		b.publish(n)
	}
	return nil
}

// Append implements [Writer]: it moves everything in w, published or not, to the end of this buffer, without copying,
// and leaves w empty. What Malloc of w returned stays valid until this buffer's Flush. w is a [*LinkBuffer], or comes
// from [NewWriter] or [NewReadWriter] and gives its unflushed bytes; no other goroutine may use w meanwhile. A nil
// *LinkBuffer does nothing. Appending a buffer to itself is an error that Is [ErrBufferMisuse].
func (b *LinkBuffer) Append(w Writer) error {
	switch w := w.(type) {
	case *LinkBuffer:
		return b.WriteBuffer(w)
	case interface{ writeBuffer() *LinkBuffer }:
		return b.WriteBuffer(w.writeBuffer())
	}
	return Exception(ErrUnsupported, fmt.Sprintf("appending a %T", w))
}

// WriteBuffer is Append for a LinkBuffer.
func (b *LinkBuffer) WriteBuffer(src *LinkBuffer) error {
	switch {
	case src == nil:
		return nil
	case src == b:
		return fmt.Errorf("%w: appending a buffer to itself", ErrBufferMisuse)
	}
	n := src.Len() + src.mallocLen
	if n == 0 {
		return nil
	}
	b.holdForMore()
	b.attach(src.detach())
	b.mallocLen += n
	return nil
}

// detach empties the buffer, which has something in it, and returns its chain. Neither side may be active.
func (b *LinkBuffer) detach() (first, last *node) {
	_ = b.Flush()
	nd := b.first()
	b.sweep(sweepAll)
	for nd != nil {
		next := nd.next
		switch nd.aged, nd.followed = false, false; {
		case nd.off == nd.end:
			nd.free()
		case first == nil:
			first, last = nd, nd
		default:
			last.next = nd
			last = nd
		}
		nd = next
	}
	last.next = nil // an empty tail may have been behind it
	b.forgetWriting()
	b.head, b.read = nil, nil
	b.tail.Store(nil)
	w := b.word.Load()
	b.taken.Store(w >> stateBits)
	b.word.Store(withState(w, stateEmpty))
	return first, last
}

// book returns free space to receive into: the rest of the tail, if that is a good part of size bytes, or else a new
// block. It is at most size bytes, and never empty. Nothing may be unpublished. The booking ends with bookAck.
func (b *LinkBuffer) book(size int) []byte {
	size = max(size, 1)
	b.hold()
	nd := b.last
	if nd == nil || nd.room() < min(size, max(size/2, minBooking)) {
		nd = newBlock(size)
		b.attach(nd, nd)
	}
	end := nd.end + min(size, nd.room())
	return nd.buf[nd.end:end:end]
}

// bookAck publishes the first n booked bytes and gives the rest back, all of it if n is zero. It returns the number of
// readable bytes.
func (b *LinkBuffer) bookAck(n int) (length int) {
	if n > 0 {
		b.last.end += n
		b.publish(n)
		return b.Len()
	}
	if nd := b.pending; nd != nil {
		nd.free()
	}
	b.giveUp()
	return b.Len()
}

// leakTail is bookAck(0) for memory that the kernel may still write to: the block is never used again.
func (b *LinkBuffer) leakTail() {
	b.last.blk.refs.Or(keptForUser)
	b.bookAck(0)
}
