package netpoll

// This file holds a model of LinkBuffer made of plain byte slices, and the machine that runs a program of operations
// on buffers and their models side by side.

import (
	"bytes"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

// segment is a run of unpublished bytes. If it came from Malloc, mem is what has to be filled in before Flush.
type segment struct{ data, mem []byte }

// promise is a slice that must keep its content.
type promise struct{ got, want []byte }

func checkPromises(t *testing.T, ps []promise) {
	t.Helper()
	for _, p := range ps {
		if !bytes.Equal(p.got, p.want) {
			t.Fatalf("a slice of %d bytes changed before it was released", len(p.want))
		}
	}
}

// modelled is a LinkBuffer with its model.
type modelled struct {
	buf     *LinkBuffer
	ready   []byte
	pending []segment
	shown   []promise // since the last Slice, Read or Release
	aged    []promise // between the last two
}

func (m *modelled) mallocLen() (n int) {
	for _, s := range m.pending {
		n += len(s.data)
	}
	return n
}

// split makes the model's pending bytes have a boundary at n and returns the index of the segment behind it.
func (m *modelled) split(n int) int {
	for i, s := range m.pending {
		if n == 0 {
			return i
		}
		if n < len(s.data) {
			head, tail := segment{data: s.data[:n:n]}, segment{data: s.data[n:]}
			if s.mem != nil {
				head.mem, tail.mem = s.mem[:n:n], s.mem[n:]
			}
			m.pending = append(m.pending[:i:i], append([]segment{head, tail}, m.pending[i+1:]...)...)
			return i + 1
		}
		n -= len(s.data)
	}
	return len(m.pending)
}

func (m *modelled) consume(n int) []byte {
	p := m.ready[:n:n]
	m.ready = m.ready[n:]
	return p
}

func (m *modelled) forgetShown() { m.shown, m.aged = nil, nil }

// machine runs a program: a sequence of bytes that are operations and their arguments.
type machine struct {
	t       *testing.T
	program []byte
	bufs    []*modelled
	kept    []promise // for ever
	serial  byte
}

func (v *machine) arg() int {
	if len(v.program) == 0 {
		return 0
	}
	b := v.program[0]
	v.program = v.program[1:]
	return int(b)
}

// size maps one byte to sizes around the interesting limits.
func (v *machine) size() int {
	b := v.arg()
	switch low := b & 63; b >> 6 {
	case 0:
		return low
	case 1:
		return low * 33
	case 2:
		return low * 257
	default:
		return 4064 + low
	}
}

func (v *machine) bytes(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		v.serial += 7
		p[i] = v.serial % 101 // never the poison
	}
	return p
}

func (v *machine) pick() *modelled { return v.bufs[v.arg()%len(v.bufs)] }

func (v *machine) add(buf *LinkBuffer, ready []byte) {
	if len(v.bufs) < 8 {
		v.bufs = append(v.bufs, &modelled{buf: buf, ready: ready})
		return
	}
	require.NoError(v.t, buf.Close())
}

// runProgram runs program with the memory debug mode on, and checks at the end that all memory was given back.
func runProgram(t *testing.T, program []byte) {
	SetMemoryDebug(func(err error) { t.Errorf("%v", err) })
	defer SetMemoryDebug(nil)
	before := blocksOut.Load()
	v := &machine{t: t, program: program}
	v.add(new(LinkBuffer), nil)
	v.add(new(LinkBuffer), nil)
	v.add(NewLinkBuffer(100), nil)
	for steps := 0; len(v.program) > 0 && steps < 4000; steps++ {
		op := v.arg()
		m := v.pick()
		operations[op%len(operations)](v, m)
		v.check()
	}
	for _, m := range v.bufs {
		v.drain(m)
	}
	require.Equal(t, before, blocksOut.Load(), "blocks still in use")
	checkPromises(t, v.kept)
}

func (v *machine) check() {
	for _, m := range v.bufs {
		require.Equal(v.t, len(m.ready), m.buf.Len(), "Len")
		require.Equal(v.t, m.mallocLen(), m.buf.MallocLen(), "MallocLen")
		checkPromises(v.t, m.shown)
		checkPromises(v.t, m.aged)
	}
	checkPromises(v.t, v.kept)
}

// drain flushes, reads everything, and checks that nothing is held any more.
func (v *machine) drain(m *modelled) {
	opFlush(v, m)
	got, err := m.buf.ReadBinary(m.buf.Len())
	require.NoError(v.t, err)
	require.True(v.t, bytes.Equal(m.ready, got), "what is left differs")
	require.NoError(v.t, m.buf.Release())
	m.ready, m.shown, m.aged = nil, nil, nil
	if m.buf.warm {
		require.NoError(v.t, m.buf.Close())
	}
	requireHoldsNothing(v.t, m.buf)
}

func requireHoldsNothing(t *testing.T, b *LinkBuffer) {
	t.Helper()
	require.Nil(t, b.head)
	require.Nil(t, b.read)
	require.Nil(t, b.entry)
	require.Nil(t, b.base)
	require.Nil(t, b.pending)
	require.Nil(t, b.last)
	require.Nil(t, b.roomy)
	require.Nil(t, b.tail.Load())
	require.Equal(t, stateEmpty, b.word.Load()&stateMask)
}

// operations are the steps of a program. New ones go to the end, so that old programs keep their meaning.
var operations = []func(*machine, *modelled){
	opMalloc, opWriteBinary, opWriteString, opWriteByte, opWriteDirect, opMallocAck, opFlush, opAppend,
	opNext, opPeek, opSkip, opReadBinary, opReadString, opReadByte, opUntil, opSlice, opRelease, opReadCopy,
	opBook, opGetBytes, opClose, opAbandon, opMisuse, opIndexByte, opSendOut,
}

func opMalloc(v *machine, m *modelled) {
	n := v.size()
	p, err := m.buf.Malloc(n)
	require.NoError(v.t, err)
	require.Len(v.t, p, n)
	require.Equal(v.t, n, cap(p))
	if n > 0 {
		m.pending = append(m.pending, segment{data: v.bytes(n), mem: p})
	}
}

func opWriteBinary(v *machine, m *modelled) {
	p := v.bytes(v.size())
	n, err := m.buf.WriteBinary(p)
	require.NoError(v.t, err)
	require.Equal(v.t, len(p), n)
	v.wrote(m, p)
}

func opWriteString(v *machine, m *modelled) {
	p := v.bytes(v.size())
	n, err := m.buf.WriteString(string(p))
	require.NoError(v.t, err)
	require.Equal(v.t, len(p), n)
	v.wrote(m, p)
}

// wrote notes that p was written, possibly by reference, and so must never be changed.
func (v *machine) wrote(m *modelled, p []byte) {
	if len(p) > 0 {
		m.pending = append(m.pending, segment{data: p})
		v.keep(p)
	}
}

func (v *machine) keep(p []byte) {
	if len(v.kept) < 32 {
		v.kept = append(v.kept, promise{p, bytes.Clone(p)})
	}
}

func opWriteByte(v *machine, m *modelled) {
	p := v.bytes(1)
	require.NoError(v.t, m.buf.WriteByte(p[0]))
	m.pending = append(m.pending, segment{data: p})
}

func opWriteDirect(v *machine, m *modelled) {
	remain := v.size() % (m.mallocLen() + 1)
	p := v.bytes(v.size())
	require.NoError(v.t, m.buf.WriteDirect(p, remain))
	if len(p) == 0 {
		return
	}
	i := m.split(m.mallocLen() - remain)
	m.pending = append(m.pending[:i:i], append([]segment{{data: p}}, m.pending[i:]...)...)
	v.keep(p)
}

func opMallocAck(v *machine, m *modelled) {
	n := v.size() % (m.mallocLen() + 1)
	require.NoError(v.t, m.buf.MallocAck(n))
	m.pending = m.pending[:m.split(n)]
}

func opFlush(v *machine, m *modelled) {
	for _, s := range m.pending {
		copy(s.mem, s.data)
		m.ready = append(m.ready, s.data...)
	}
	m.pending = nil
	require.NoError(v.t, m.buf.Flush())
}

func opAppend(v *machine, m *modelled) {
	src := v.pick()
	err := m.buf.Append(src.buf)
	if src == m {
		require.ErrorIs(v.t, err, ErrBufferMisuse)
		return
	}
	require.NoError(v.t, err)
	v.moved(m, src)
}

// wanted is a number of bytes to read, usually one that is there.
func (v *machine) wanted(m *modelled) int {
	n := v.size()
	if len(m.ready) > 0 && n > len(m.ready) && n%4 != 0 {
		n = 1 + n%len(m.ready)
	}
	return n
}

// tooMuch checks that err says that n bytes are not there, if they are not.
func (v *machine) tooMuch(m *modelled, n int, err error) bool {
	if n > len(m.ready) {
		require.ErrorIs(v.t, err, ErrNotEnoughData)
		return true
	}
	require.NoError(v.t, err)
	return false
}

func opNext(v *machine, m *modelled) {
	n := v.wanted(m)
	p, err := m.buf.Next(n)
	if v.tooMuch(m, n, err) {
		require.Empty(v.t, p)
		return
	}
	v.show(m, p, m.consume(n))
}

// show checks that p is want and notes that it has to stay so.
func (v *machine) show(m *modelled, p, want []byte) {
	require.Equal(v.t, len(p), cap(p))
	require.True(v.t, bytes.Equal(want, p), "the bytes read differ")
	if len(m.shown) < 16 {
		m.shown = append(m.shown, promise{p, want})
	}
}

func opPeek(v *machine, m *modelled) {
	n := v.wanted(m)
	p, err := m.buf.Peek(n)
	if !v.tooMuch(m, n, err) {
		v.show(m, p, bytes.Clone(m.ready[:n]))
	}
}

func opSkip(v *machine, m *modelled) {
	n := v.wanted(m)
	if err := m.buf.Skip(n); !v.tooMuch(m, n, err) {
		m.consume(n)
	}
}

func opReadBinary(v *machine, m *modelled) {
	n := v.wanted(m)
	p, err := m.buf.ReadBinary(n)
	if !v.tooMuch(m, n, err) {
		require.True(v.t, bytes.Equal(m.consume(n), p), "the bytes read differ")
		v.keep(p)
	}
}

func opReadString(v *machine, m *modelled) {
	n := v.wanted(m)
	s, err := m.buf.ReadString(n)
	if !v.tooMuch(m, n, err) {
		require.True(v.t, string(m.consume(n)) == s, "the string read differs")
	}
}

func opReadByte(v *machine, m *modelled) {
	c, err := m.buf.ReadByte()
	if !v.tooMuch(m, 1, err) {
		require.Equal(v.t, m.consume(1)[0], c)
	}
}

func opUntil(v *machine, m *modelled) {
	delim := byte(v.arg())
	line, err := m.buf.Until(delim)
	i := bytes.IndexByte(m.ready, delim)
	if i < 0 {
		require.ErrorIs(v.t, err, ErrNotEnoughData)
		i = len(m.ready) - 1
	} else {
		require.NoError(v.t, err)
	}
	v.show(m, line, m.consume(i+1))
}

func opSlice(v *machine, m *modelled) {
	n := v.wanted(m)
	r, err := m.buf.Slice(n)
	if v.tooMuch(m, n, err) {
		return
	}
	if n > 0 {
		m.shown, m.aged = nil, m.shown
	}
	v.add(r.(*LinkBuffer), m.consume(n))
}

func opRelease(v *machine, m *modelled) {
	require.NoError(v.t, m.buf.Release())
	m.forgetShown()
	if len(m.ready) == 0 && m.mallocLen() == 0 && !m.buf.warm {
		requireHoldsNothing(v.t, m.buf)
	}
}

func opReadCopy(v *machine, m *modelled) {
	p := make([]byte, v.size())
	n := m.buf.readCopy(p)
	require.Equal(v.t, min(len(p), len(m.ready)), n)
	if n > 0 {
		m.shown, m.aged = nil, m.shown
	}
	require.True(v.t, bytes.Equal(m.consume(n), p[:n]), "the bytes copied differ")
}

func opBook(v *machine, m *modelled) {
	if m.mallocLen() > 0 {
		return
	}
	size := v.size()
	p := m.buf.book(size)
	require.NotEmpty(v.t, p)
	require.LessOrEqual(v.t, len(p), max(size, 1))
	if v.arg()%2 == 0 { // the consumer is active meanwhile
		opNext(v, m)
		opRelease2(v, m)
	}
	n := v.size() % (len(p) + 1)
	data := v.bytes(n)
	copy(p, data)
	m.ready = append(m.ready, data...)
	require.Equal(v.t, len(m.ready), m.buf.bookAck(n))
}

// opRelease2 is opRelease while the producer may hold a node.
func opRelease2(v *machine, m *modelled) {
	require.NoError(v.t, m.buf.Release())
	m.forgetShown()
}

func opGetBytes(v *machine, m *modelled) {
	vs := m.buf.GetBytes(make([][]byte, v.arg()%5))
	var got []byte
	for _, p := range vs {
		require.NotEmpty(v.t, p)
		v.show(m, p, bytes.Clone(m.ready[len(got):len(got)+len(p)]))
		got = append(got, p...)
	}
	all := m.buf.GetBytes(nil)
	require.True(v.t, bytes.Equal(m.ready, bytes.Join(all, nil)), "GetBytes differs")
}

func opClose(v *machine, m *modelled) {
	require.NoError(v.t, m.buf.Close())
	m.ready, m.pending = nil, nil
	m.forgetShown()
	requireHoldsNothing(v.t, m.buf)
}

func opAbandon(v *machine, m *modelled) {
	v.kept = append(v.kept, m.shown...)
	m.buf.abandon()
	m.ready, m.pending = nil, nil
	m.forgetShown()
	requireHoldsNothing(v.t, m.buf)
}

func opMisuse(v *machine, m *modelled) {
	n := m.mallocLen()
	require.ErrorIs(v.t, m.buf.MallocAck(n+1+v.arg()), ErrBufferMisuse)
	require.ErrorIs(v.t, m.buf.MallocAck(-1), ErrBufferMisuse)
	require.ErrorIs(v.t, m.buf.WriteDirect([]byte("x"), n+1+v.arg()), ErrBufferMisuse)
	require.ErrorIs(v.t, m.buf.WriteDirect([]byte("x"), -1), ErrBufferMisuse)
	require.NoError(v.t, m.buf.WriteBuffer(nil))
	require.True(v.t, errors.Is(m.buf.Append(nil), errors.ErrUnsupported))
}

func opIndexByte(v *machine, m *modelled) {
	c, skip := byte(v.arg()), v.size()
	want := -1
	if skip < len(m.ready) {
		if i := bytes.IndexByte(m.ready[skip:], c); i >= 0 {
			want = skip + i
		}
	}
	require.Equal(v.t, want, m.buf.indexByte(c, skip))
}

// opSendOut does as a connection does to send, to a transport that takes part of it.
func opSendOut(v *machine, m *modelled) {
	var vec [4][]byte
	got := bytes.Join(m.buf.GetBytes(vec[:]), nil)
	require.True(v.t, bytes.HasPrefix(m.ready, got), "GetBytes differs")
	n := v.size() % (len(got) + 1)
	require.NoError(v.t, m.buf.Skip(n))
	m.consume(n)
	opRelease(v, m)
}
