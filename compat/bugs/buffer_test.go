package bugs

// LinkBuffer by itself.

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/cloudwego/netpoll"
)

// two returns a buffer whose bytes lie in two pieces of 5000.
func two(t testing.TB) *netpoll.LinkBuffer {
	t.Helper()
	b := netpoll.NewLinkBuffer()
	p := fill(10000)
	for _, piece := range [][]byte{p[:5000], p[5000:]} {
		_, err := b.WriteBinary(piece)
		must(t, err)
	}
	must(t, b.Flush())
	return b
}

// Behaviour 1.5: LinkBuffer and UnsafeLinkBuffer are one type, with and without the race detector.
func TestLinkBufferIsTheSameTypeUnderTheRaceDetector(t *testing.T) {
	if reflect.TypeFor[netpoll.LinkBuffer]() != reflect.TypeFor[netpoll.UnsafeLinkBuffer]() {
		t.Fatalf("%v is another type than %v", reflect.TypeFor[netpoll.LinkBuffer](),
			reflect.TypeFor[netpoll.UnsafeLinkBuffer]())
	}
}

// Behaviour 3.3: a Skip and a later Peek leave the bytes of an earlier Peek as they were.
func TestSkipAndPeekLeaveAnEarlierPeekAlone(t *testing.T) {
	b := two(t)
	peeked, err := b.Peek(6000)
	must(t, err)
	before := bytes.Clone(peeked)
	must(t, b.Skip(1))
	_, err = b.Peek(6000)
	must(t, err)
	if !bytes.Equal(peeked, before) {
		t.Fatal("the bytes of the first Peek have changed")
	}
}

// Behaviour 3.3: a larger Peek does not give the memory of an earlier one to others before Release.
func TestLargerPeekKeepsTheMemoryOfAnEarlierOne(t *testing.T) {
	for range 50 { // it depends on the pool whether it hands out the block it got last
		b := two(t)
		peeked, err := b.Peek(6000)
		must(t, err)
		before := bytes.Clone(peeked)
		_, err = b.Peek(9000)
		must(t, err)
		other := netpoll.NewLinkBuffer(8192)
		p, err := other.Malloc(8192)
		must(t, err)
		clear(p)
		if !bytes.Equal(peeked, before) {
			t.Fatal("another buffer writes into the bytes of the first Peek")
		}
	}
}

// Behaviour 4.2: several WriteDirect calls, at later and earlier positions, leave one owner to each block.
func TestWriteDirectAtEarlierPositionsLeavesOneOwner(t *testing.T) {
	for range 50 {
		b := netpoll.NewLinkBuffer()
		p, err := b.Malloc(4096)
		must(t, err)
		copy(p, fill(4096))
		must(t, b.WriteDirect([]byte("later"), 1000))
		must(t, b.WriteDirect([]byte("earlier"), 3000))
		must(t, b.Flush())
		must(t, b.Close())
		x, y := netpoll.NewLinkBuffer(4096), netpoll.NewLinkBuffer(4096)
		px, err := x.Malloc(4096)
		must(t, err)
		py, err := y.Malloc(4096)
		must(t, err)
		if &px[0] == &py[0] {
			t.Fatal("two buffers were given the same memory")
		}
	}
}

// Behaviour 4.6: acknowledging more than was allocated is an error.
func TestMallocAckBeyondWhatWasAllocatedIsAnError(t *testing.T) {
	b := netpoll.NewLinkBuffer()
	_, err := b.Malloc(5)
	must(t, err)
	if b.MallocAck(10) == nil {
		t.Fatal("no error")
	}
}

// Behaviour 4.6: WriteDirect with more to remain than was allocated is an error.
func TestWriteDirectBeyondWhatWasAllocatedIsAnError(t *testing.T) {
	b := netpoll.NewLinkBuffer()
	_, err := b.Malloc(5)
	must(t, err)
	if b.WriteDirect([]byte("x"), 10) == nil {
		t.Fatal("no error")
	}
}

// Behaviour 4.6: appending a buffer to itself is an error.
func TestAppendingABufferToItselfIsAnError(t *testing.T) {
	b := netpoll.NewLinkBuffer()
	_, err := b.WriteString("hello")
	must(t, err)
	if b.Append(b) == nil {
		t.Fatal("no error")
	}
}

// Behaviour 4.6: a buffer whose blocks were moved away by Append can be used again.
func TestBufferCanBeUsedAgainAfterItWasAppended(t *testing.T) {
	a, b := netpoll.NewLinkBuffer(), netpoll.NewLinkBuffer()
	_, err := b.WriteString("hello")
	must(t, err)
	must(t, a.Append(b))
	reuse(t, b)
}

// Behaviour 4.6: a buffer that was closed can be used again.
func TestBufferCanBeUsedAgainAfterClose(t *testing.T) {
	b := netpoll.NewLinkBuffer()
	must(t, b.Close())
	reuse(t, b)
}

func reuse(t testing.TB, b *netpoll.LinkBuffer) {
	t.Helper()
	_, err := b.WriteString("again")
	must(t, err)
	must(t, b.Flush())
	got, err := b.ReadString(5)
	must(t, err)
	if got != "again" {
		t.Fatalf("got %q", got)
	}
}
