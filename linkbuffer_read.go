package netpoll

// This file holds the consumer's side of LinkBuffer.

import (
	"bytes"
	"fmt"
	"unsafe"

	"github.com/bytedance/gopkg/lang/dirtmake"
)

// readable returns how much of the have unread bytes of the chain is in nd and not behind it. Only the consumer, and
// only for a node that it reached because the word said that there are bytes.
func (nd *node) readable(have int) int {
	if nd.loadNext() == nil {
		return have // its end belongs to the producer, and all unread bytes are here
	}
	return min(nd.end-nd.off, have)
}

// show marks the node as known to the user until Release.
func (nd *node) show() { nd.shown, nd.aged = true, false }

// first moves read to the first node with unread bytes. There must be some.
func (b *LinkBuffer) first() *node {
	nd := b.read
	if nd == nil {
		nd = b.entry
		b.entry, b.head, b.read = nil, nd, nd
	}
	for nd.readable(1) <= 0 {
		nd = nd.loadNext()
		b.read = nd
	}
	return nd
}

// front returns the node to read from, with n contiguous bytes. n is positive.
func (b *LinkBuffer) front(n int) (*node, error) {
	have := b.Len()
	if have < n {
		return nil, notEnough(n, have)
	}
	if nd := b.read; nd != nil && (nd.loadNext() == nil || nd.end-nd.off >= n) {
		return nd, nil // as nearly always
	}
	nd := b.first()
	if nd.readable(have) >= n {
		return nd, nil
	}
	return b.merge(nd, n, have), nil
}

func notEnough(n, have int) error {
	return fmt.Errorf("%w: %d of %d bytes", ErrNotEnoughData, have, n)
}

// merge makes the first n of have bytes contiguous, and returns their node. They go behind the data of nd if there is
// room, and into a new block otherwise; either way earlier slices from Next and Peek stay unchanged. The room that is
// left in a new block serves later calls, so that a growing Peek copies each byte about once.
func (b *LinkBuffer) merge(nd *node, n, have int) *node {
	dst, src := nd, nd.loadNext()
	l := nd.readable(have)
	if nd.room() < n-l {
		size := mergeSize(n)
		if nd.followed { // merged before: the window slides, and is to slide as far again before the next copy
			size = max(size, 2*n)
		}
		dst = newBlock(size)
		copy(dst.take(l), nd.data(l))
		nd.off += l
		nd.next = dst
		b.read = dst
	}
	have -= l
	for missing := n - l; missing > 0; {
		there := src.readable(have)
		k := min(there, missing)
		copy(dst.take(k), src.data(k))
		src.off += k
		missing -= k
		have -= k
		if k == there && have > 0 {
			next := src.loadNext()
			b.retire(src)
			src = next
		}
	}
	dst.next = src
	dst.followed = true
	return dst
}

// mergeSize is the size to ask for. Up to the largest class, classes grow by themselves.
func mergeSize(n int) int {
	if classOf(n) == noClass {
		return n + n/4
	}
	return n
}

// retire takes a fully read node, not the tail, out of the chain; its predecessor is about to be linked to another. If
// the user has a slice of it, it stays until Release.
func (b *LinkBuffer) retire(nd *node) {
	if !nd.shown {
		nd.free()
		return
	}
	nd.next = b.head
	b.head = nd
}

// advance counts n bytes as taken.
func (b *LinkBuffer) advance(n int) { b.taken.Store(b.taken.Load() + uint64(n)) }

// Next implements [Reader]. The slice is valid, and unchanged, until Release.
func (b *LinkBuffer) Next(n int) (p []byte, err error) {
	if n <= 0 {
		return nil, nil
	}
	nd, err := b.front(n)
	if err != nil {
		return nil, err
	}
	p = nd.data(n)
	nd.show()
	nd.off += n
	b.advance(n)
	return p, nil
}

// Peek implements [Reader]. The slice is valid, and unchanged, until Release.
func (b *LinkBuffer) Peek(n int) (p []byte, err error) {
	if n <= 0 {
		return nil, nil
	}
	nd, err := b.front(n)
	if err != nil {
		return nil, err
	}
	nd.show()
	return nd.data(n), nil
}

// Skip implements [Reader].
func (b *LinkBuffer) Skip(n int) error {
	if n <= 0 {
		return nil
	}
	have := b.Len()
	if have < n {
		return notEnough(n, have)
	}
	nd := b.first()
	for left := n; ; {
		k := min(nd.readable(have), left)
		nd.off += k
		have -= k
		if left -= k; left == 0 {
			break
		}
		nd = nd.loadNext()
		b.read = nd
	}
	b.advance(n)
	return nil
}

// Until implements [Reader]. If the delimiter is not there, it returns and consumes everything, with an error that
// Is [ErrNotEnoughData].
func (b *LinkBuffer) Until(delim byte) (line []byte, err error) {
	have := b.Len() // before the search: later bytes may hold the delimiter, and must stay
	if i := b.indexByte(delim, 0); i >= 0 {
		return b.Next(i + 1)
	}
	line, _ = b.Next(have)
	return line, fmt.Errorf("%w: no delimiter %q in %d bytes", ErrNotEnoughData, delim, have)
}

// indexByte returns the index of the first c among the unread bytes, not counting the first skip bytes; -1 if there
// is none.
func (b *LinkBuffer) indexByte(c byte, skip int) int {
	have := b.Len()
	if have <= skip {
		return -1
	}
	skip = max(skip, 0)
	index := 0
	for nd := b.first(); ; nd = nd.loadNext() {
		l := nd.readable(have)
		if skip < l {
			if i := bytes.IndexByte(nd.data(l)[skip:], c); i >= 0 {
				return index + skip + i
			}
		}
		index += l
		skip = max(skip-l, 0)
		if have -= l; have == 0 {
			return -1
		}
	}
}

// ReadByte implements [Reader].
func (b *LinkBuffer) ReadByte() (byte, error) {
	nd, err := b.front(1)
	if err != nil {
		return 0, err
	}
	c := nd.buf[nd.off]
	nd.off++
	b.advance(1)
	return c, nil
}

// ReadBinary implements [Reader].
func (b *LinkBuffer) ReadBinary(n int) (p []byte, err error) {
	if n <= 0 {
		return nil, nil
	}
	if have := b.Len(); have < n {
		return nil, notEnough(n, have)
	}
	p = dirtmake.Bytes(n, n)
	b.copyOut(p)
	return p, nil
}

// ReadString implements [Reader].
func (b *LinkBuffer) ReadString(n int) (s string, err error) {
	p, err := b.ReadBinary(n)
	if len(p) == 0 {
		return "", err
	}
	return unsafe.String(&p[0], len(p)), nil // no other code knows p
}

// copyOut reads len(p) bytes, which must be there, into p.
func (b *LinkBuffer) copyOut(p []byte) {
	if len(p) == 0 {
		return
	}
	have := b.Len()
	nd := b.first()
	for left := p; ; {
		k := min(nd.readable(have), len(left))
		copy(left, nd.data(k))
		nd.off += k
		have -= k
		if left = left[k:]; len(left) == 0 {
			break
		}
		nd = nd.loadNext()
		b.read = nd
	}
	b.advance(len(p))
}

// readCopy reads up to len(p) bytes into p and returns how many. It frees what has been read, except memory that was
// shown to the user since the last call of it or of Slice: a caller that peeks and then copies need not call Release.
func (b *LinkBuffer) readCopy(p []byte) int {
	n := min(len(p), b.Len())
	if n > 0 {
		b.copyOut(p[:n])
		b.sweep(sweepAged)
	}
	return n
}

// Slice implements [Reader]. The result is a *LinkBuffer that shares the memory by reference count: another goroutine
// may read, release and close it while this buffer goes on. What Next and Peek returned before stays valid until the
// next Slice, Read over an adapter, or Release.
func (b *LinkBuffer) Slice(n int) (Reader, error) {
	if n <= 0 {
		return new(LinkBuffer), nil
	}
	have := b.Len()
	if have < n {
		return nil, notEnough(n, have)
	}
	var last *node
	p := new(LinkBuffer)
	nd := b.first()
	for left := n; ; {
		k := min(nd.readable(have), left)
		w := newWindow(nd.data(k), nd.blk, true)
		if last == nil {
			p.head, p.read = w, w
		} else {
			last.next = w
		}
		last = w
		nd.off += k
		have -= k
		if left -= k; left == 0 {
			break
		}
		nd = nd.loadNext()
		b.read = nd
	}
	p.tail.Store(last)
	p.word.Store(uint64(n)<<stateBits | stateFree)
	b.advance(n)
	b.sweep(sweepAged)
	return p, nil
}

// Release implements [Reader]. When everything has been read, no memory is left in the buffer.
func (b *LinkBuffer) Release() error {
	nd := b.read
	switch {
	case nd == nil:
	case b.warm && nd == b.head && !nd.followed && b.word.Load() == b.taken.Load()<<stateBits|stateHeld:
		nd.shown = false // everything is read, and the producer keeps the tail
	default:
		b.sweep(sweepAll)
	}
	return nil
}

// sweepMode says which fully read nodes to free.
type sweepMode int

const (
	sweepAll  sweepMode = iota // all of them, as Release does
	sweepAged                  // those not shown to the user, and those that an earlier sweep of this mode kept
)

// keeps reports whether nd has to stay.
func (m sweepMode) keeps(nd *node) bool {
	if m == sweepAll || !nd.shown || nd.aged {
		return false
	}
	nd.aged = true
	return true
}

// sweep frees fully read nodes.
func (b *LinkBuffer) sweep(mode sweepMode) {
	if b.read == nil {
		return
	}
	have := b.Len()
	b.skipRead(have)
	nd := b.head
	b.head = b.read
	var kept *node
	for nd != b.read {
		next := nd.loadNext()
		switch {
		case !mode.keeps(nd):
			nd.free()
		case kept == nil:
			b.head, kept = nd, nd
		default:
			kept.next = nd
			kept = nd
		}
		nd = next
	}
	if kept != nil {
		kept.next = b.read
	}
	if mode == sweepAll {
		b.read.shown = false
	}
	if have == 0 && b.head == b.read && !mode.keeps(b.read) {
		b.letGo()
	}
}

// skipRead moves read past fully read nodes, within the part of the chain that is known to be published.
func (b *LinkBuffer) skipRead(have int) {
	for nd := b.read; have > 0 || nd.followed; b.read = nd {
		next := nd.loadNext()
		if next == nil || nd.off < nd.end {
			return
		}
		nd = next
	}
}

// Bytes returns all readable bytes without consuming them. They are valid until Release.
func (b *LinkBuffer) Bytes() []byte {
	p, _ := b.Peek(b.Len())
	return p
}

// GetBytes fills p with the pieces of the readable bytes, in order, without consuming them, and returns the part of p
// that it filled. If p is empty it returns all pieces in a new slice. The pieces are valid until Release; none is
// empty.
func (b *LinkBuffer) GetBytes(p [][]byte) (vs [][]byte) {
	every := len(p) == 0
	if !every {
		vs = p[:0]
	}
	have := b.Len()
	if have == 0 {
		return vs
	}
	for nd := b.first(); every || len(vs) < len(p); nd = nd.loadNext() {
		if l := nd.readable(have); l > 0 {
			nd.show()
			vs = append(vs, nd.data(l))
			have -= l
		}
		if have == 0 {
			break
		}
	}
	return vs
}

// leakHead makes sure that the block with the first readable bytes is never used again, because the kernel may still
// read from it. The block is one of this package.
func (b *LinkBuffer) leakHead() { b.first().blk.refs.Or(keptForUser) }

// ownsAll reports whether every readable byte is in memory of this package, none in memory that the user passed to
// WriteBinary, WriteString or WriteDirect.
func (b *LinkBuffer) ownsAll() bool {
	have := b.Len()
	if have == 0 {
		return true
	}
	for nd := b.first(); ; nd = nd.loadNext() {
		if nd.blk == nil && nd.readable(have) > 0 {
			return false
		}
		if have -= nd.readable(have); have == 0 {
			return true
		}
	}
}
