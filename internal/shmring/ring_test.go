package shmring

import (
	"bytes"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// memory returns aligned memory for a region, and the region.
func memory(ring int) *Region {
	words := make([]uint64, (Header+ring)/8)
	return NewRegion(unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), Header+ring))
}

// pairs returns the two ends of a connection in the memory of this process.
func pairs(ringA, ringB int) (a, b *Pair) {
	ra, rb := memory(ringA), memory(ringB)
	return NewPair(ra, rb), NewPair(rb, ra)
}

func TestBytesArriveInOrder(t *testing.T) {
	a, b := pairs(MinRing, 2*MinRing)
	rng := rand.New(rand.NewPCG(1, 2))
	var sent, got bytes.Buffer
	p := make([]byte, 3*MinRing)
	for range 10000 {
		for i := range p {
			p[i] = byte(rng.Uint32())
		}
		n, err := a.Send(p[:rng.IntN(len(p))])
		require.NoError(t, err)
		sent.Write(p[:n])
		n, _, err = b.Receive(p[:rng.IntN(len(p))])
		require.NoError(t, err)
		got.Write(p[:n])
		require.LessOrEqual(t, sent.Len()-got.Len(), MinRing)
	}
	for b.Input() {
		n, _, err := b.Receive(p)
		require.NoError(t, err)
		got.Write(p[:n])
	}
	require.Positive(t, got.Len())
	require.True(t, bytes.Equal(sent.Bytes(), got.Bytes()))
}

// Each side sleeps where it cannot go on, and is woken by the other: the stream never stops.
func TestNoWakeUpIsLost(t *testing.T) {
	const total = 1 << 22
	a, b := pairs(MinRing, MinRing)
	toA, toB := make(chan struct{}, 1), make(chan struct{}, 1)
	wake := func(ch chan struct{}) {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
	go func() {
		p := make([]byte, 1000)
		for left := total; left > 0; {
			n, err := a.Send(p[:min(left, len(p))])
			if err != nil {
				t.Error(err)
				return
			}
			left -= n
			if n > 0 && a.WakesReader() {
				wake(toB)
			}
			if n == 0 && !a.AwaitRoom() {
				<-toA
				a.Awake()
			}
			if left%7 == 0 {
				runtime.Gosched()
			}
		}
		a.End()
		if a.WakesReader() {
			wake(toB)
		}
	}()
	got, p := 0, make([]byte, 700)
	for {
		ended := b.Ended()
		n, wakes, err := b.Receive(p)
		require.NoError(t, err)
		got += n
		if wakes {
			wake(toA)
		}
		if n > 0 {
			continue
		}
		if ended {
			break
		}
		if !b.AwaitInput() {
			<-toB
			b.Awake()
		}
	}
	require.Equal(t, total, got)
}

// What the peer sends after the look and before the flag, for which it wakes nobody, is found by the second look.
func TestASideLooksAgainBeforeItSleeps(t *testing.T) {
	a, b := pairs(MinRing, MinRing)
	looks := 0
	found := b.await(offSleeping, func() bool {
		if looks++; looks > 1 {
			return b.Input()
		}
		n, err := a.Send([]byte("x"))
		require.Equal(t, 1, n)
		require.NoError(t, err)
		require.False(t, a.WakesReader())
		return false
	})
	require.True(t, found)
}

// Each wait is woken from once, however much comes.
func TestOneWakeUpForEachWait(t *testing.T) {
	a, b := pairs(MinRing, MinRing)
	for range 3 {
		require.False(t, b.AwaitInput())
		wakes := 0
		for range 10 {
			_, err := a.Send([]byte("x"))
			require.NoError(t, err)
			if a.WakesReader() {
				wakes++
			}
		}
		require.Equal(t, 1, wakes)
		b.Awake()
		_, _, err := b.Receive(make([]byte, 100))
		require.NoError(t, err)
	}
}

func TestCountersThatCannotBeRightEndTheStream(t *testing.T) {
	for _, sent := range []uint64{MinRing + 1, 1 << 62, ^uint64(0)} {
		a, b := pairs(MinRing, MinRing)
		a.own.counter(offSent).Store(sent)
		require.True(t, b.Input())
		require.Zero(t, b.Available())
		_, _, err := b.Receive(make([]byte, 10))
		require.ErrorIs(t, err, ErrCorrupt)
	}
	for _, taken := range []uint64{1, MinRing, 1 << 62} { // of nothing that was sent
		a, b := pairs(MinRing, MinRing)
		a.own.counter(offTaken).Store(taken)
		require.True(t, b.Room())
		_, err := b.Send(make([]byte, 10))
		require.ErrorIs(t, err, ErrCorrupt)
	}
}

// FuzzPeer lets the peer write what it wants into its region, between the calls of this side, which never reads or writes
// outside of the rings, nor says that it has moved more bytes than it has.
func FuzzPeer(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15})
	f.Add(bytes.Repeat([]byte{0xff}, 64))
	f.Fuzz(func(t *testing.T, program []byte) {
		a, b := pairs(MinRing, MinRing)
		in := bytes.NewReader(program)
		p := make([]byte, 3*MinRing)
		for {
			var step [4]byte
			if _, err := io.ReadFull(in, step[:]); err != nil {
				return
			}
			size := int(step[1])<<5 + int(step[2])
			at := []int{offSent, offTaken, offSleeping, offStuck, offEnded}[int(step[3])%5]
			switch step[0] % 5 {
			case 0:
				n, err := b.Send(p[:size])
				require.True(t, n >= 0 && n <= min(size, MinRing) && (err == nil || n == 0))
			case 1:
				there := b.Available()
				require.True(t, there >= 0 && there <= MinRing)
				n, _, err := b.Receive(p[:size])
				require.True(t, n >= 0 && n <= min(size, MinRing) && (err == nil || n == 0))
			case 2:
				a.own.counter(at).Store(uint64(step[1])<<40 | uint64(step[2]))
			case 3:
				a.own.counter(at).Add(uint64(size))
			case 4:
				b.AwaitInput()
				b.AwaitRoom()
				b.Awake()
			}
		}
	})
}

func FuzzHello(f *testing.F) {
	f.Add(Hello{Answer: Shared, Ring: MinRing}.Encode())
	f.Add(Hello{Answer: Plain}.Encode())
	f.Add([]byte("GET / HTTP/1.1\r\n"))
	f.Fuzz(func(t *testing.T, p []byte) {
		h, err := Decode(p)
		if err != nil {
			require.ErrorIs(t, err, ErrHello)
			return
		}
		require.True(t, Begins(p))
		require.Equal(t, p, h.Encode(), "every byte counts")
	})
}
