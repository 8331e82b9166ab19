package netpoll

// This file holds the flow control of a connection's input: how much is received at once, and when receiving stops
// until a reader has made room.

import "github.com/cloudwego/netpoll/internal/interleave/atomic"

const (
	// maxReceive is the most that a connection receives at once, unless a reader waits for more.
	maxReceive = 256 << 10
	// eagerReceive is how much memory is set aside at once for a reader that waits for more. Beyond it no more is set
	// aside than has arrived already, because the number of bytes to wait for often comes from the peer.
	eagerReceive = 1 << 20
)

// inputWindow is how much input a connection takes. The argument have is how much is buffered and not read. With rest
// set the limit does not count, because the peer has ended its side and the rest is taken at once.
type inputWindow struct {
	limit        atomic.Int64 // on unread input; 0 or less is none. Stored by SetReadLimit
	lowWater     atomic.Int64 // bytes that a waiting reader needs. Stored by it; 0 when no reader waits
	readerQuota  atomic.Int64 // what may be buffered for that reader beyond the limit. Stored by the reader, too
	handlerQuota atomic.Int64 // what may be for a handler that waits by returning. Stored by the goroutine that runs it
	paused       atomic.Bool  // nothing is received. Set by the receiving goroutine, cleared by the one that resumes

	// Only the receiving goroutine uses these.
	there int32 // bytes that the transport has for the next receive; 0 if it does not know
	base  int   // bytes to receive at once, at first and at least
	size  int   // bytes to receive at once, now
}

// init makes w receive size bytes at once, at first.
func (w *inputWindow) init(size, limit int) {
	w.base, w.size = size, size
	w.limit.Store(int64(limit))
}

// most is how much input may be buffered; 0 if there is no limit.
func (w *inputWindow) most(rest bool) int64 {
	limit := w.limit.Load()
	if limit <= 0 || rest {
		return 0
	}
	return max(limit, w.readerQuota.Load(), w.handlerQuota.Load())
}

// full reports whether no more may be buffered.
func (w *inputWindow) full(have int, rest bool) bool {
	most := w.most(rest)
	return most > 0 && int64(have) >= most
}

// next is how much to receive at once: usually size; for a reader that waits for much, all that it still needs, so that
// it arrives in one piece; and never more than may be buffered.
func (w *inputWindow) next(have int, rest bool) int {
	size, held := int64(w.size), int64(have)
	if w.there > 0 {
		size = int64(max(int(w.there), w.base))
	}
	if missing := w.lowWater.Load() - held; missing > size {
		size = min(missing, max(size, held, eagerReceive))
	}
	if most := w.most(rest); most > 0 {
		size = min(size, max(most-held, 1))
	}
	return int(size)
}

// adapt lets the size follow what arrives: up at once, down when it is far too large. full says that n bytes filled the
// room.
func (w *inputWindow) adapt(n int, full bool) {
	switch {
	case full && n >= w.size && w.size < maxReceive:
		w.size *= 2
	case n < w.size/4 && w.size > w.base:
		w.size /= 2
	}
}

// await notes that a reader waits for n bytes, and that quota bytes may be buffered for it.
func (w *inputWindow) await(n, quota int) {
	w.readerQuota.Store(int64(quota))
	w.lowWater.Store(int64(n))
}

// awaitNothing undoes await.
func (w *inputWindow) awaitNothing() {
	w.lowWater.Store(0)
	w.readerQuota.Store(0)
}

// grant doubles how much may be buffered, for a handler that has seen all input and wants more.
func (w *inputWindow) grant(have int) { w.handlerQuota.Store(2 * int64(have)) }

// endGrant ends what grant began, when the handler has consumed something.
func (w *inputWindow) endGrant() {
	if w.handlerQuota.Load() != 0 { // a store costs more
		w.handlerQuota.Store(0)
	}
}

// pause stops receiving. It returns false if full, which it calls once more, does not hold any longer: a reader may
// have made room before it could see that receiving has stopped. first is false if receiving had stopped before.
func (w *inputWindow) pause(full func() bool) (paused, first bool) {
	if w.paused.Swap(true) {
		return true, false
	}
	if !full() && w.resume() {
		return false, false
	}
	return true, true
}

// mayResume reports whether there is room enough to go on: half of the limit, so that a reader that takes little at a
// time does not start and stop receiving with each piece.
func (w *inputWindow) mayResume(have int, rest bool) bool {
	limit, held := w.limit.Load(), int64(have)
	return limit <= 0 || held <= limit/2 || held < max(w.readerQuota.Load(), w.handlerQuota.Load()) || rest
}

// resume lets receiving go on. It returns false if receiving was not stopped, or another goroutine has resumed it.
func (w *inputWindow) resume() bool { return w.paused.CompareAndSwap(true, false) }
