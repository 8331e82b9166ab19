// Package shmring holds a stream of bytes between two processes in shared memory: a ring for each direction.
//
// Each side has one [Region]. It alone writes to it; the other side maps it read-only, and the system makes sure of both.
// So nothing is written by two processes, and a side can trust what it has written itself. All that a side takes from the
// other's region are bytes, flags, and two counters, which it checks against its own at each use: see [ErrCorrupt].
package shmring

import (
	"errors"
	"unsafe"

	"github.com/cloudwego/netpoll/internal/interleave/atomic"
)

// A Region begins with a page of counters and flags, each in a cache line of its own, and the ring follows. Counters count
// bytes from the beginning of the stream, and never go back.
const (
	offSent     = 0   // uint64: bytes that the owner has put into its ring
	offTaken    = 64  // uint64: bytes that the owner has taken out of the other's ring
	offSleeping = 128 // uint32: not 0 if the owner wants to be woken when there is something to read
	offStuck    = 192 // uint32: not 0 if the owner wants to be woken when there is room in its ring
	offEnded    = 256 // uint32: the owner sends nothing more

	// Header is the size of that page, in bytes.
	Header = 4 << 10
	// MinRing and MaxRing limit the size of a ring, in bytes. It is a power of two.
	MinRing = 4 << 10
	MaxRing = 64 << 20
)

// # Order
//
// The two sides are threads of different processes, which share physical memory, so the memory model of the processor holds
// between them as between threads of one process; other addresses for the same memory change nothing. All counters and flags
// are written and read by operations of package atomic, which are sequentially consistent: on amd64 stores are XCHG, on
// arm64 they are STLR and loads are LDAR, or the acquiring and releasing forms of LSE, and an LDAR is not done before an
// STLR that comes before it in the program. 64-bit counters are aligned, so they are never torn, on 32-bit systems neither.
// The order that matters, and the schedules of package netpoll try every one of:
//
//   - Bytes go into the ring before offSent is stored, and are read after it was loaded: what is counted is there. Likewise
//     bytes are taken out before offTaken is stored, and overwritten after it was loaded.
//   - Who waits stores its flag, and then loads the counter; who sends or takes stores the counter, and then loads the flag.
//     Each is a store before a load of another address, which plain release and acquire would let change places. In one order
//     for all of them one load comes last, and sees the other side's store: a wait is noticed, or is none.
//   - offEnded is stored after the last offSent and loaded before it: who sees the end sees all bytes before it.
//
// A peer that breaks the order hurts itself only: what it gets wrong are its own bytes, counters and wake-ups.

// ErrCorrupt says that the counters of the other side cannot be right. The stream is over then.
var ErrCorrupt = errors.New("shared memory: the peer's counters cannot be right")

// ValidRing reports whether size may be that of a ring.
func ValidRing(size int) bool { return size >= MinRing && size <= MaxRing && size&(size-1) == 0 }

// Region is the memory of one side.
type Region struct {
	mem  []byte // from the system, and aligned to its pages
	ring []byte
}

// NewRegion makes a region of memory of size [Header] and a ring, which must be aligned to 8 bytes.
func NewRegion(mem []byte) *Region { return &Region{mem: mem, ring: mem[Header:]} }

// Size is how many bytes of memory the region has.
func (r *Region) Size() int { return len(r.mem) }

func (r *Region) counter(at int) *atomic.Uint64 { return (*atomic.Uint64)(unsafe.Pointer(&r.mem[at])) }

func (r *Region) flag(at int) *atomic.Uint32 { return (*atomic.Uint32)(unsafe.Pointer(&r.mem[at])) }

// clear clears a flag that the other side may be looking at: a store costs more than a load.
func (r *Region) clear(at int) {
	if flag := r.flag(at); flag.Load() != 0 {
		flag.Store(0)
	}
}

// copyIn copies p into the ring, from the position at on. It must fit.
func (r *Region) copyIn(at uint64, p []byte) {
	i := int(at) & (len(r.ring) - 1)
	n := copy(r.ring[i:], p)
	copy(r.ring, p[n:])
}

// copyOut copies bytes of the ring, from the position at on, into p.
func (r *Region) copyOut(at uint64, p []byte) {
	i := int(at) & (len(r.ring) - 1)
	n := copy(p, r.ring[i:])
	copy(p[n:], r.ring)
}

// Pair is the two regions of a connection, as one side sees them. The sending methods are for one goroutine at a time, and
// so are the receiving ones; those of both kinds may be called at the same time. Room, Input and Available may always be called.
type Pair struct {
	own, peer *Region
	waits     atomic.Uint32 // how often this side has asked to be woken; the number of each is what its flag has
	wokeIn    atomic.Uint32 // the last wait for input that the peer was woken from
	wokeRoom  atomic.Uint32 // the same for room
}

// NewPair makes the pair of a side.
func NewPair(own, peer *Region) *Pair { return &Pair{own: own, peer: peer} }

// Send copies as much of p as there is room for, which Publish must follow.
func (c *Pair) Send(p []byte) (n int, err error) {
	room, err := c.room()
	if err != nil || room == 0 {
		return 0, err
	}
	n = min(len(p), room)
	sent := c.own.counter(offSent)
	at := sent.Load()
	c.own.copyIn(at, p[:n])
	sent.Store(at + uint64(n))
	return n, nil
}

// WakesReader reports whether the peer waits for what was sent, and must be woken, which happens once for each time that it
// waits. It comes after Send and End.
func (c *Pair) WakesReader() bool { return wakes(c.peer.flag(offSleeping), &c.wokeIn) }

// wakes reports whether a flag of the peer has a wait that it was not woken from.
func wakes(flag, woke *atomic.Uint32) bool {
	wait := flag.Load()
	return wait != 0 && woke.Swap(wait) != wait
}

// End says that nothing more will be sent.
func (c *Pair) End() { c.own.flag(offEnded).Store(1) }

// room returns how many bytes can be sent now.
func (c *Pair) room() (int, error) {
	used := c.own.counter(offSent).Load() - c.peer.counter(offTaken).Load()
	if used > uint64(len(c.own.ring)) {
		return 0, ErrCorrupt
	}
	return len(c.own.ring) - int(used), nil
}

// Room reports whether something can be sent, or an attempt would fail.
func (c *Pair) Room() bool {
	n, err := c.room()
	return n > 0 || err != nil
}

// AwaitRoom asks the peer to wake this side when there is room, and reports whether there is some already. It may always
// be called.
func (c *Pair) AwaitRoom() bool { return c.await(offStuck, c.Room) }

// await sets a flag and asks again. The peer looks at the flag after it has changed what has is about, so that one of both
// sees the change of the other.
func (c *Pair) await(at int, has func() bool) bool {
	if has() {
		return true
	}
	flag := c.own.flag(at)
	if flag.Load() == 0 {
		wait := c.waits.Add(1)
		if wait == 0 {
			wait = c.waits.Add(1)
		}
		flag.Store(wait)
	}
	return has()
}

// Receive takes bytes into p: as many as there are, 0 if there are none. wake says that the peer waits for the room.
func (c *Pair) Receive(p []byte) (n int, wake bool, err error) {
	have, err := c.input()
	if err != nil || have == 0 {
		return 0, false, err
	}
	n = min(len(p), have)
	taken := c.own.counter(offTaken)
	at := taken.Load()
	c.peer.copyOut(at, p[:n])
	taken.Store(at + uint64(n))
	return n, c.wakesWriter(have - n), nil
}

// wakesWriter reports whether the peer waits for room and must be woken: once for each time that it waits, and if there is
// enough room to be worth it, which is a quarter of the ring.
func (c *Pair) wakesWriter(left int) bool {
	size := len(c.peer.ring)
	return size-left >= size/4 && wakes(c.peer.flag(offStuck), &c.wokeRoom)
}

// input returns how many bytes can be received now.
func (c *Pair) input() (int, error) {
	have := c.peer.counter(offSent).Load() - c.own.counter(offTaken).Load()
	if have > uint64(len(c.peer.ring)) {
		return 0, ErrCorrupt
	}
	return int(have), nil
}

// Available returns how many bytes there are to receive; 0 if the counters of the peer cannot be right.
func (c *Pair) Available() int {
	n, _ := c.input()
	return n
}

// Input reports whether there is something to receive: bytes, their end, or an error.
func (c *Pair) Input() bool {
	n, err := c.input()
	return n > 0 || err != nil || c.Ended()
}

// AwaitInput asks the peer to wake this side when it has sent something, and reports whether there is something already. It
// may always be called.
func (c *Pair) AwaitInput() bool { return c.await(offSleeping, c.Input) }

// Awake undoes AwaitInput and AwaitRoom: this side looks by itself.
func (c *Pair) Awake() {
	c.own.clear(offSleeping)
	c.own.clear(offStuck)
}

// AwakeForInput undoes AwaitInput.
func (c *Pair) AwakeForInput() { c.own.clear(offSleeping) }

// Taken returns how many bytes this side has received. It may always be called.
func (c *Pair) Taken() uint64 { return c.own.counter(offTaken).Load() }

// Ended reports whether the peer sends nothing more. What it has sent before can be received all the same, and was there
// before Ended returned true.
func (c *Pair) Ended() bool { return c.peer.flag(offEnded).Load() != 0 }
