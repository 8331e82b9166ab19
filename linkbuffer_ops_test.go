package netpoll

// More operations for the machine of linkbuffer_model_test.go: those by which buffers and adapters work together, and
// buffers of other sizes.

import (
	"bytes"
	"io"

	"github.com/stretchr/testify/require"
)

func init() {
	operations = append(operations,
		opBytes, opWriteBuffer, opAppendAdapter, opWriteIO, opReadIO, opNew, opGetSome)
}

func opBytes(v *machine, m *modelled) {
	p := m.buf.Bytes()
	require.True(v.t, bytes.Equal(m.ready, p), "Bytes differs")
	if len(p) > 0 {
		v.show(m, p, bytes.Clone(m.ready))
	}
	require.Equal(v.t, len(m.ready) == 0, m.buf.IsEmpty())
}

// moved makes the model do what moving src to the end of m does.
func (v *machine) moved(m, src *modelled) {
	if len(src.ready) > 0 {
		m.pending = append(m.pending, segment{data: src.ready})
	}
	if len(src.ready)+src.mallocLen() > 0 {
		src.forgetShown()
	}
	m.pending = append(m.pending, src.pending...)
	src.ready, src.pending = nil, nil
}

func opWriteBuffer(v *machine, m *modelled) {
	src := v.pick()
	err := m.buf.WriteBuffer(src.buf)
	if src == m {
		require.ErrorIs(v.t, err, ErrBufferMisuse)
		return
	}
	require.NoError(v.t, err)
	v.moved(m, src)
}

// opAppendAdapter appends what a Writer on an io.Writer has not flushed.
func opAppendAdapter(v *machine, m *modelled) {
	var dst bytes.Buffer
	w := NewWriter(&dst)
	for range 1 + v.arg()%3 {
		p := v.bytes(v.size())
		_, err := w.WriteBinary(p)
		require.NoError(v.t, err)
		v.wrote(m, p)
	}
	require.NoError(v.t, m.buf.Append(w))
	require.Zero(v.t, w.MallocLen())
	require.NoError(v.t, w.Flush())
	require.Zero(v.t, dst.Len(), "what was appended elsewhere was written")
}

// opWriteIO writes through an io.Writer, which flushes.
func opWriteIO(v *machine, m *modelled) {
	p := v.bytes(v.size())
	n, err := NewIOWriter(m.buf).Write(p)
	require.NoError(v.t, err)
	require.Equal(v.t, len(p), n)
	if len(p) > 0 {
		m.pending = append(m.pending, segment{data: p})
	}
	opFlush(v, m)
}

// opReadIO reads through an io.Reader.
func opReadIO(v *machine, m *modelled) {
	p := make([]byte, 1+v.size())
	n, err := NewIOReader(m.buf).Read(p)
	if len(m.ready) == 0 {
		require.Equal(v.t, io.EOF, err)
	} else {
		require.NoError(v.t, err)
	}
	require.True(v.t, bytes.Equal(m.consume(min(len(p), len(m.ready))), p[:n]), "the bytes read differ")
	if n > 0 {
		m.shown, m.aged = nil, m.shown
	}
}

// opNew adds a buffer of another size, or with a part of this one's memory.
func opNew(v *machine, m *modelled) {
	switch v.arg() % 3 {
	case 0:
		v.add(new(LinkBuffer), nil)
	case 1:
		v.add(NewLinkBuffer(v.size()*v.arg()), nil)
	case 2:
		opSlice(v, m)
	}
}

// opGetSome looks at the first pieces, sends none of them, and looks again.
func opGetSome(v *machine, m *modelled) {
	var first, second [3][]byte
	a, b := bytes.Join(m.buf.GetBytes(first[:]), nil), bytes.Join(m.buf.GetBytes(second[:]), nil)
	require.True(v.t, bytes.Equal(a, b), "GetBytes differs from itself")
	require.True(v.t, bytes.HasPrefix(m.ready, a), "GetBytes differs")
	require.True(v.t, len(m.ready) > 0 || m.buf.ownsAll(), "an empty buffer holds memory of its user")
}
