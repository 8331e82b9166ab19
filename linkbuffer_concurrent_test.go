package netpoll

// This file holds the tests of a LinkBuffer whose two sides are used by two goroutines. They are meant to be run with
// the race detector, too.

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// stream produces and checks an endless sequence of bytes, so that a lost, doubled or misplaced byte is seen.
type stream struct{ pos uint64 }

func (s *stream) byteAt(pos uint64) byte {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], (pos>>3)*0x9E3779B97F4A7C15)
	return b[pos&7] % poison // never the poison
}

func (s *stream) fill(p []byte) {
	for i := range p {
		p[i] = s.byteAt(s.pos)
		s.pos++
	}
}

func (s *stream) check(p []byte) error {
	for i := range p {
		if p[i] != s.byteAt(s.pos) {
			return fmt.Errorf("wrong byte at %d", s.pos)
		}
		s.pos++
	}
	return nil
}

// duplex is one buffer with both its sides.
type duplex struct {
	buf   *LinkBuffer
	total uint64
	more  chan struct{} // something was published
	room  chan struct{} // something was consumed
}

const maxInFlight = 100_000

// produce publishes total bytes in all kinds of ways.
func (d *duplex) produce(r *rand.Rand) {
	var s stream
	for s.pos < d.total {
		for d.buf.Len() > maxInFlight {
			<-d.room
		}
		n := 1 + int(min(uint64(r.IntN(1<<r.IntN(14))), d.total-s.pos-1))
		if r.IntN(2) == 0 {
			d.receive(r, &s, n)
		} else {
			d.write(r, &s, n)
		}
		signal(d.more)
	}
}

func (d *duplex) receive(r *rand.Rand, s *stream, n int) {
	p := d.buf.book(1 + r.IntN(5000))
	n = min(n, len(p))
	if r.IntN(4) == 0 {
		n = 0
	}
	s.fill(p[:n])
	d.buf.bookAck(n)
}

func (d *duplex) write(r *rand.Rand, s *stream, n int) {
	p := make([]byte, n)
	s.fill(p)
	switch r.IntN(4) {
	case 0:
		q, _ := d.buf.Malloc(n + r.IntN(100))
		copy(q, p)
		_ = d.buf.MallocAck(n)
	case 1:
		_, _ = d.buf.WriteBinary(p)
	case 2:
		k := r.IntN(n)
		q, _ := d.buf.Malloc(n - k)
		at := r.IntN(len(q))
		copy(q, p[:at])
		copy(q[at:], p[at+k:])
		_ = d.buf.WriteDirect(p[at:at+k], len(q)-at)
	case 3:
		src := NewLinkBuffer()
		_, _ = src.WriteBinary(p[:n/2])
		_ = src.Flush()
		_, _ = src.WriteBinary(p[n/2:])
		_ = d.buf.Append(src)
	}
	if r.IntN(16) == 0 {
		_, _ = d.buf.Malloc(10)
		_ = d.buf.MallocAck(d.buf.MallocLen() - 10)
	}
	_ = d.buf.Flush()
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// consume reads everything in all kinds of ways, some of it in goroutines of their own.
func (d *duplex) consume(r *rand.Rand) error {
	var s stream
	var slices sync.WaitGroup
	var failed sync.Map
	for s.pos < d.total {
		for d.buf.IsEmpty() {
			<-d.more
		}
		n := 1 + r.IntN(min(d.buf.Len(), 1<<r.IntN(15)))
		if r.IntN(6) == 0 {
			part, err := d.buf.Slice(n)
			if err != nil {
				return err
			}
			from := s
			s.pos += uint64(n)
			slices.Go(func() {
				if err := readSlice(part.(*LinkBuffer), from, n); err != nil {
					failed.Store(err, nil)
				}
			})
		} else if err := d.read(r, &s, n); err != nil {
			return err
		}
		if r.IntN(2) == 0 {
			_ = d.buf.Release()
		}
		signal(d.room)
	}
	slices.Wait()
	var err error
	failed.Range(func(key, _ any) bool { err = key.(error); return false })
	return err
}

func readSlice(part *LinkBuffer, s stream, n int) error {
	p, err := part.Next(n)
	if err == nil {
		err = s.check(p)
	}
	_ = part.Release()
	return err
}

func (d *duplex) read(r *rand.Rand, s *stream, n int) error {
	switch r.IntN(5) {
	case 0:
		p, err := d.buf.Next(n)
		if err != nil {
			return err
		}
		return s.check(p)
	case 1:
		p, err := d.buf.Peek(n)
		if err != nil {
			return err
		}
		if err := s.check(p); err != nil {
			return err
		}
		return d.buf.Skip(n)
	case 2:
		p := make([]byte, n)
		return s.check(p[:d.buf.readCopy(p)])
	case 3:
		p, err := d.buf.ReadBinary(n)
		if err != nil {
			return err
		}
		return s.check(p)
	default:
		var vec [3][]byte
		for _, p := range d.buf.GetBytes(vec[:]) {
			if err := s.check(p); err != nil {
				return err
			}
			if err := d.buf.Skip(len(p)); err != nil {
				return err
			}
		}
		return nil
	}
}

// TestLinkBufferProducerAndConsumerShareNoLock lets the two sides race through all operations, and checks each byte,
// that nothing is touched after its release, and that nothing is left at the end.
func TestLinkBufferProducerAndConsumerShareNoLock(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			SetMemoryDebug(func(err error) { t.Error(err) })
			defer SetMemoryDebug(nil)
			before := blocksOut.Load()
			d := &duplex{
				buf:   new(LinkBuffer),
				total: 2 << 20,
				more:  make(chan struct{}, 1),
				room:  make(chan struct{}, 1),
			}
			if seed%4 == 3 {
				d.buf = NewLinkBuffer()
			}
			var producer sync.WaitGroup
			producer.Go(func() { d.produce(rand.New(rand.NewPCG(seed, 2))) })
			require.NoError(t, d.consume(rand.New(rand.NewPCG(seed, 3))))
			producer.Wait()
			require.NoError(t, d.buf.Release())
			if d.buf.warm {
				require.NoError(t, d.buf.Close())
			}
			requireHoldsNothing(t, d.buf)
			require.Equal(t, before, blocksOut.Load(), "blocks still in use")
		})
	}
}

// TestLinkBufferReleaseRacesWithReceive lets small messages arrive while each is read and released at once: the tail
// changes hands all the time.
func TestLinkBufferReleaseRacesWithReceive(t *testing.T) {
	SetMemoryDebug(func(err error) { t.Error(err) })
	defer SetMemoryDebug(nil)
	before := blocksOut.Load()
	const messages = 100_000
	var buf LinkBuffer
	more := make(chan struct{}, 1)
	var producer sync.WaitGroup
	producer.Go(func() {
		var s stream
		for i := range messages {
			p := buf.book(64)
			s.fill(p[:8])
			if i%3 == 0 {
				buf.bookAck(0) // nothing came
				p = buf.book(64)
				s.pos -= 8
				s.fill(p[:8])
			}
			buf.bookAck(8)
			signal(more)
		}
	})
	var s stream
	for range messages {
		for buf.Len() < 8 {
			_ = buf.Release()
			<-more
		}
		p, err := buf.Next(8)
		require.NoError(t, err)
		require.NoError(t, s.check(p))
		require.NoError(t, buf.Release())
	}
	producer.Wait()
	require.NoError(t, buf.Release())
	requireHoldsNothing(t, &buf)
	require.Equal(t, before, blocksOut.Load(), "blocks still in use")
}

// midPublish does the first half of what the producer's Flush does: the link is there, the word is not.
func midPublish(b *LinkBuffer) { b.base.publishNext(b.pending) }

// TestConsumerStopsAtWhatIsPublished looks at the moment when the next node is linked but not published, which a race
// rarely hits: the consumer must neither read beyond the published bytes nor step to that node.
func TestConsumerStopsAtWhatIsPublished(t *testing.T) {
	SetMemoryDebug(func(err error) { t.Error(err) })
	defer SetMemoryDebug(nil)
	before := blocksOut.Load()
	for name, prepare := range map[string]func() *LinkBuffer{
		"plain": func() *LinkBuffer { return written(t, "abcd") },
		"a node that was merged, moved and cut": func() *LinkBuffer {
			src := written(t, "ab", "cd-", strings.Repeat("x", 5000))
			_, err := src.Peek(4500)
			require.NoError(t, err)
			b := written(t, "")
			require.NoError(t, b.Append(src))
			require.NoError(t, b.MallocAck(4))
			require.NoError(t, b.Flush())
			return b
		},
	} {
		for _, unread := range []int{0, 2} {
			for _, inBase := range []string{"", "ef"} {
				b := prepare()
				_ = malloc(t, b, inBase)
				_ = malloc(t, b, strings.Repeat("g", 20_000))
				require.NoError(t, b.Skip(4-unread), name)
				midPublish(b)
				require.Equal(t, "abcd"[4-unread:], string(bytes.Join(b.GetBytes(nil), nil)), name)
				require.Equal(t, -1, b.indexByte('e', 0), name)
				require.NoError(t, b.Release(), name)
				require.Equal(t, unread, b.readCopy(make([]byte, 100)), name)
				require.NoError(t, b.Release(), name)
				require.Equal(t, stateLeft, b.word.Load()&stateMask, name)
				require.Equal(t, inBase+strings.Repeat("g", 20_000), content(t, b), name)
				require.NoError(t, b.Close(), name)
			}
		}
	}
	require.Equal(t, before, blocksOut.Load(), "blocks still in use")
}
