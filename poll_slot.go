//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// This file holds the slots of a poller: they turn the number that the kernel hands back into the watch it was given
// for, or into nothing. A token is a slot's index and generation; the generation changes with every use of the slot,
// so an event that was on its way when its descriptor was closed cannot reach the next user of the slot.

import (
	"github.com/cloudwego/netpoll/internal/interleave/atomic"
	"github.com/cloudwego/netpoll/internal/interleave/sync"
)

const slotsPerChunk = 256

type slot struct {
	w   atomic.Pointer[watch] // stored by put and drop; loaded by the leader
	gen uint32                // guarded by slotTable.mu
}

type slotChunk [slotsPerChunk]slot

// slotTable grows by whole chunks, which never move, so lookup needs no lock.
type slotTable struct {
	chunks atomic.Pointer[[]*slotChunk] // replaced under mu when the table grows

	// mu guards everything below and slot.gen.
	mu      sync.Mutex
	free    []uint32
	retired []uint32 // freed during the running batch: free again when it ends
	inBatch bool
	used    int
	shut    bool
}

func makeToken(index, gen uint32) uint64 { return uint64(gen)<<32 | uint64(index) }

// put gives w a slot and a token. It returns false if the poller has ended.
func (t *slotTable) put(w *watch) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.shut {
		return false
	}
	if len(t.free) == 0 {
		t.grow()
	}
	index := t.free[len(t.free)-1]
	t.free = t.free[:len(t.free)-1]
	t.used++
	s := t.at(index)
	s.gen = s.gen%maxGen + 1 // never 0, so no token is 0
	w.token = makeToken(index, s.gen)
	s.w.Store(w)
	return true
}

// grow adds a chunk. The caller holds mu.
func (t *slotTable) grow() {
	var chunks []*slotChunk
	if old := t.chunks.Load(); old != nil {
		chunks = append(chunks, *old...)
	}
	first := uint32(len(chunks) * slotsPerChunk)
	chunks = append(chunks, new(slotChunk))
	t.chunks.Store(&chunks)
	for i := uint32(slotsPerChunk); i > 0; i-- {
		t.free = append(t.free, first+i-1) // the lowest index is used first
	}
}

func (t *slotTable) at(index uint32) *slot {
	return &(*t.chunks.Load())[index/slotsPerChunk][index%slotsPerChunk]
}

// lookup returns the watch that token was made for, or nil if it has been dropped since.
func (t *slotTable) lookup(token uint64) *watch {
	index := uint32(token)
	chunks := t.chunks.Load()
	if chunks == nil || int(index/slotsPerChunk) >= len(*chunks) {
		return nil
	}
	w := (*chunks)[index/slotsPerChunk][index%slotsPerChunk].w.Load()
	if w == nil || w.token != token {
		return nil
	}
	return w
}

// drop frees the slot of token and reports whether it was the last one in use.
func (t *slotTable) drop(token uint64) (last bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.shut {
		return false
	}
	index := uint32(token)
	t.at(index).w.Store(nil)
	t.used--
	if t.inBatch {
		t.retired = append(t.retired, index)
	} else {
		t.free = append(t.free, index)
	}
	return t.used == 0
}

func (t *slotTable) beginBatch() {
	t.mu.Lock()
	t.inBatch = true
	t.mu.Unlock()
}

func (t *slotTable) endBatch() {
	t.mu.Lock()
	t.inBatch = false
	t.free = append(t.free, t.retired...)
	t.retired = t.retired[:0]
	t.mu.Unlock()
}

// inUse is how many slots are in use.
func (t *slotTable) inUse() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.used
}

// shutIfEmpty shuts the table if no slot is in use, and reports whether it is shut.
func (t *slotTable) shutIfEmpty() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.shut = t.shut || t.used == 0
	return t.shut
}

// closeAll shuts the table for good and returns the watches that were still in it.
func (t *slotTable) closeAll() (left []*watch) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.shut = true
	chunks := t.chunks.Load()
	if chunks == nil {
		return nil
	}
	for _, c := range *chunks {
		for i := range c {
			if w := c[i].w.Swap(nil); w != nil {
				left = append(left, w)
			}
		}
	}
	return left
}
