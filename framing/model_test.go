package framing_test

// A plain model of the formats, on bytes that are all there, and fuzzing against it: whatever the pieces are in which the
// same bytes arrive, the same frames and the same error come out.

import (
	"bytes"
	"errors"
	"io"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/framing"
)

// outcome is what a format makes of all the bytes of a stream.
type outcome struct {
	frames []string
	end    string // how it ended: "end", "inside a frame", "too long", "bad length"
	rest   int    // bytes behind the last frame
}

// model is the specification of a format: it returns the frame at the beginning of in and what is behind it, or how the
// stream ends.
type model func(in []byte) (frame, rest []byte, end string)

func (m model) all(in []byte) (o outcome) {
	for {
		frame, rest, end := m(in)
		switch {
		case end == "inside a frame" && len(in) == 0:
			end = "end"
			fallthrough
		case end != "":
			o.end, o.rest = end, len(in)
			return o
		}
		o.frames = append(o.frames, string(frame))
		in = rest
	}
}

func lengthModel(f framing.LengthField) model {
	return func(in []byte) (frame, rest []byte, end string) {
		header := f.Offset + f.Size
		if len(in) < header {
			return nil, nil, "inside a frame"
		}
		digits := slices.Clone(in[f.Offset:header])
		if f.LittleEndian {
			slices.Reverse(digits)
		}
		n := new(big.Int).SetBytes(digits)
		n.Add(n, big.NewInt(int64(f.Adjustment)))
		return behind(in, header, n, f.Limit, f.KeepHeader)
	}
}

func varintModel(f framing.Varint) model {
	return func(in []byte) (frame, rest []byte, end string) {
		n := new(big.Int)
		for i, b := range in {
			n.Or(n, new(big.Int).Lsh(big.NewInt(int64(b&0x7f)), uint(7*i)))
			if n.BitLen() > 64 || i == 9 && b >= 0x80 {
				return nil, nil, "bad length"
			}
			if b < 0x80 {
				return behind(in, i+1, n, f.Limit, false)
			}
		}
		return nil, nil, "inside a frame"
	}
}

// behind returns the n bytes behind the header.
func behind(in []byte, header int, n *big.Int, limit int, keep bool) (frame, rest []byte, end string) {
	switch {
	case n.Sign() < 0:
		return nil, nil, "bad length"
	case n.Cmp(big.NewInt(int64(limit))) > 0:
		return nil, nil, "too long"
	}
	end1 := header + int(n.Int64())
	if len(in) < end1 {
		return nil, nil, "inside a frame"
	}
	if keep {
		header = 0
	}
	return in[header:end1], in[end1:], ""
}

func delimiterModel(f framing.Delimiter) model {
	return func(in []byte) (frame, rest []byte, end string) {
		frame, rest, found := bytes.Cut(in, []byte(f.Delim))
		switch {
		case found && len(frame) <= f.Limit:
			return frame, rest, ""
		case len(in) >= f.Limit+len(f.Delim):
			return nil, nil, "too long"
		}
		return nil, nil, "inside a frame"
	}
}

func lineModel(f framing.Line) model {
	return func(in []byte) (frame, rest []byte, end string) {
		frame, rest, found := bytes.Cut(in, []byte("\n"))
		if found {
			frame = bytes.TrimSuffix(frame, []byte("\r"))
		}
		switch {
		case found && len(frame) <= f.Limit:
			return frame, rest, ""
		case found || len(in) >= f.Limit+2:
			return nil, nil, "too long"
		}
		return nil, nil, "inside a frame"
	}
}

// pieces hands out the bytes of a stream in pieces of random sizes.
type pieces struct {
	in   []byte
	dice *rand.Rand
}

func (p *pieces) next() []byte {
	most := min(len(p.in), []int{1, 3, 20, 5000}[p.dice.IntN(4)])
	n := min(1+p.dice.IntN(max(most, 1)), len(p.in))
	piece := p.in[:n]
	p.in = p.in[n:]
	return piece
}

// Read implements io.Reader.
func (p *pieces) Read(into []byte) (int, error) {
	if len(p.in) == 0 {
		return 0, io.EOF
	}
	rest := p.in
	n := copy(into, p.next())
	p.in = rest[n:]
	return n, nil
}

// tried takes frames by TryNext or TrySlice, as a handler does that is called for each piece.
func tried[F framing.Format](t testing.TB, f F, in []byte, dice *rand.Rand) (o outcome) {
	r := netpoll.NewLinkBuffer()
	defer r.Close()
	src := &pieces{in, dice}
	for {
		frame, ok, err := tryEither(t, r, f, dice)
		if err != nil {
			o.end = kindOf(t, err)
			break
		}
		if ok {
			o.frames = append(o.frames, frame)
			continue
		}
		if len(src.in) == 0 {
			if o.end = "end"; r.Len() > 0 {
				o.end = "inside a frame"
			}
			break
		}
		_, err = r.WriteBinary(bytes.Clone(src.next()))
		require.NoError(t, err)
		require.NoError(t, r.Flush())
	}
	o.rest = r.Len() + len(src.in)
	return o
}

func tryEither[F framing.Format](t testing.TB, r *netpoll.LinkBuffer, f F, dice *rand.Rand) (string, bool, error) {
	if dice.IntN(2) == 0 {
		frame, ok, err := framing.TryNext(r, f)
		text := string(frame)
		require.Equal(t, len(frame), cap(frame))
		if dice.IntN(4) == 0 {
			require.NoError(t, r.Release())
		}
		return text, ok, err
	}
	part, ok, err := framing.TrySlice(r, f)
	if !ok {
		return "", false, err
	}
	return readPart(t, part), true, nil
}

func readPart(t testing.TB, part netpoll.Reader) string {
	text, err := part.ReadString(part.Len())
	require.NoError(t, err)
	require.NoError(t, part.(io.Closer).Close())
	return text
}

// waited takes frames by Next or Slice from a stream that ends.
func waited[F framing.Format](t testing.TB, f F, in []byte, dice *rand.Rand) (o outcome) {
	src := &pieces{in, dice}
	r := netpoll.NewReader(src)
	for {
		var err error
		var text string
		if dice.IntN(2) == 0 {
			var frame []byte
			frame, err = framing.Next(r, f)
			text = string(frame)
		} else {
			var part netpoll.Reader
			if part, err = framing.Slice(r, f); err == nil {
				text = readPart(t, part)
			}
		}
		if err != nil {
			o.end = kindOf(t, err)
			break
		}
		o.frames = append(o.frames, text)
	}
	o.rest = r.Len() + len(src.in)
	return o
}

// kindOf returns the word of the model for an error.
func kindOf(t testing.TB, err error) string {
	var long *framing.TooLongError
	var length *framing.LengthError
	var truncated *framing.TruncatedError
	switch {
	case errors.As(err, &long):
		require.True(t, long.Length == 0 || long.Length > uint64(long.Limit), "%v", long)
		return "too long"
	case errors.As(err, &length):
		return "bad length"
	case errors.As(err, &truncated):
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		require.ErrorIs(t, err, netpoll.ErrEOF)
		return "inside a frame"
	case errors.Is(err, netpoll.ErrEOF):
		return "end"
	}
	t.Fatalf("unexpected error %v", err)
	return ""
}

func compare[F framing.Format](t testing.TB, f F, m model, in []byte, seed uint64) {
	want := m.all(in)
	dice := rand.New(rand.NewPCG(seed, 1))
	require.Equal(t, want, tried(t, f, in, dice), "%+v by TryNext of %q", f, in)
	require.Equal(t, want, waited(t, f, in, dice), "%+v by Next of %q", f, in)
}

// FuzzFrames compares every format with its model, on any bytes in any pieces.
func FuzzFrames(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x03abc\x00\x00\x00\x00\x00\x00\x00\x01"), uint8(3), int8(0), uint16(10), uint64(1))
	f.Add([]byte("\x05ab\x80\x80\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), uint8(0x4c), int8(-2), uint16(9000), uint64(2))
	f.Add([]byte("GET /\r\nHost: x\n\r\n\r\n\nab\r"), uint8(0x10), int8(1), uint16(6), uint64(3))
	f.Add(bytes.Repeat([]byte("0123456789abcdef\r\n"), 900), uint8(0x91), int8(4), uint16(16), uint64(4))
	f.Add(bytes.Repeat([]byte("\x7f"), 700), uint8(0x20), int8(-1), uint16(200), uint64(5))
	f.Fuzz(func(t *testing.T, in []byte, shape uint8, adjustment int8, limit uint16, seed uint64) {
		most := int(limit) + 1
		length := framing.LengthField{
			Offset: int(shape >> 5), Size: []int{1, 2, 3, 4, 8}[int(shape)%5], LittleEndian: shape&8 != 0,
			Adjustment: int(adjustment), KeepHeader: shape&16 != 0, Limit: most,
		}
		compare(t, length, lengthModel(length), in, seed)
		varint := framing.Varint{Limit: most}
		compare(t, varint, varintModel(varint), in, seed)
		line := framing.Line{Limit: most}
		compare(t, line, lineModel(line), in, seed)
		delim := framing.Delimiter{Delim: "\r\n", Limit: most}
		if len(in) > 0 { // one that is there
			at := int(seed % uint64(len(in)))
			delim.Delim = string(in[at:min(at+1+int(shape%4), len(in))])
		}
		compare(t, delim, delimiterModel(delim), in, seed)
	})
}

// FuzzWrittenFrames writes frames and reads them. What cannot be read as it was written must not be written.
func FuzzWrittenFrames(f *testing.F) {
	f.Add([]byte("abc"), []byte("de\r"), "\r\n", uint8(3), int8(0), uint16(100))
	f.Add([]byte("xaa"), []byte("a"), "aa", uint8(0xf4), int8(-3), uint16(2))
	f.Add([]byte("a\nb"), bytes.Repeat([]byte("long"), 2000), "\n", uint8(1), int8(5), uint16(60000))
	f.Fuzz(func(t *testing.T, one, two []byte, delim string, shape uint8, adjustment int8, limit uint16) {
		most := int(limit) + 1
		length := framing.LengthField{Offset: int(shape >> 5), Size: []int{1, 2, 3, 4, 8}[int(shape)%5],
			LittleEndian: shape&8 != 0, Adjustment: int(adjustment), Limit: most}
		head := bytes.Repeat([]byte("h"), length.Offset)
		write := func(w netpoll.Writer, frame []byte) error { return length.Write(w, head, frame) }
		written(t, length, lengthModel(length), write, one, two)
		varint := framing.Varint{Limit: most}
		written(t, varint, varintModel(varint), varint.Write, one, two)
		for _, crlf := range []bool{false, true} {
			line := framing.Line{Limit: most, CRLF: crlf}
			written(t, line, lineModel(line), line.Write, one, two)
			end := "\n"
			if crlf {
				end = "\r\n"
			}
			honest(t, lineModel(line), line.Write, one, end, most)
		}
		if delim != "" {
			d := framing.Delimiter{Delim: delim, Limit: most}
			written(t, d, delimiterModel(d), d.Write, one, two)
			honest(t, delimiterModel(d), d.Write, one, delim, most)
		}
	})
}

// written writes the frames that can be, and expects the model and Next to find those.
func written[F framing.Format](t *testing.T, f F, m model, write func(netpoll.Writer, []byte) error, frames ...[]byte) {
	b := netpoll.NewLinkBuffer()
	defer b.Close()
	var want []string
	for _, frame := range frames {
		before := b.MallocLen()
		if err := write(b, frame); err != nil {
			require.Equal(t, before, b.MallocLen(), "%+v wrote something of a frame before %v", f, err)
			continue
		}
		want = append(want, string(frame))
	}
	require.NoError(t, b.Flush())
	require.Equal(t, want, m.all(b.Bytes()).frames, "%+v", f)
	for _, frame := range want {
		got, err := framing.Next(b, f)
		require.NoError(t, err)
		require.Equal(t, frame, string(got))
	}
	require.True(t, b.IsEmpty())
}

// honest expects a frame to be refused only if it would be read as something else.
func honest(t *testing.T, m model, write func(netpoll.Writer, []byte) error, frame []byte, end string, limit int) {
	got, rest, _ := m(slices.Concat(frame, []byte(end)))
	readable := string(got) == string(frame) && len(rest) == 0 && len(frame) <= limit
	b := netpoll.NewLinkBuffer()
	defer b.Close()
	err := write(b, frame)
	require.Equal(t, readable, err == nil, "writing %q before %q: %v", frame, end, err)
}
