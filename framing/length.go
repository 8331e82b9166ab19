package framing

// This file holds the formats whose frames follow their length.

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/cloudwego/netpoll"
)

// maxOffset is the largest Offset of a LengthField.
const maxOffset = 64 << 10

// LengthField is the format of frames with their length in a fixed place. The usual one, of four bytes in network order
// and then as many as they say, is LengthField{Size: 4}.
//
//	Offset bytes │ Size bytes: the length │ length + Adjustment bytes
//
// The fields are those of netty's LengthFieldBasedFrameDecoder, except that Limit does not count the header, and that
// what netty calls initialBytesToStrip is the whole header, or nothing with KeepHeader.
type LengthField struct {
	// Offset is how many bytes come before the length, 65536 at most.
	Offset int
	// Size is how many bytes the length has: 1, 2, 3, 4 or 8.
	Size int
	// LittleEndian says that the first byte of the length is the least. Else it is the greatest.
	LittleEndian bool
	// Adjustment is added to the length that is read, and makes it the number of bytes behind it. It is -Offset-Size if
	// the length counts the header, and positive if there is more behind it than it counts.
	Adjustment int
	// KeepHeader makes a frame begin at its first byte, not behind the length.
	KeepHeader bool
	// Limit is how many bytes may come behind the length. 0 means DefaultLimit.
	Limit int
}

func (f LengthField) header() int { return f.Offset + f.Size }

// check returns the limit.
func (f LengthField) check() (limit int, err error) {
	switch f.Size {
	case 1, 2, 3, 4, 8:
	default:
		return 0, fmt.Errorf("%w: length of %d bytes, not 1, 2, 3, 4 or 8", ErrFormat, f.Size)
	}
	if f.Offset < 0 || f.Offset > maxOffset {
		return 0, fmt.Errorf("%w: length at offset %d", ErrFormat, f.Offset)
	}
	return limitOf(f.Limit)
}

func (f LengthField) least() (int, error) {
	_, err := f.check()
	return f.header(), err
}

func (f LengthField) look(int) int { return f.header() }

func (f LengthField) measure(p []byte, _ int) (s span, err error) {
	limit, _ := f.check()
	value := f.get(p[f.Offset:f.header()])
	n, err := adjusted(value, f.Adjustment, limit)
	if err != nil {
		return s, err
	}
	if f.KeepHeader {
		return span{body: f.header() + n}, nil
	}
	return span{head: f.header(), body: n}, nil
}

// adjusted returns value + by, if that is a length from 0 to limit.
func adjusted(value uint64, by, limit int) (int, error) {
	const tooMuch = math.MaxInt64 / 2 // so that a sum with an adjustment is no more than an int64
	if value > tooMuch {
		return 0, &TooLongError{Op: "read frame", Length: value, Limit: limit}
	}
	n := int64(value) + max(min(int64(by), tooMuch), -tooMuch)
	switch {
	case n < 0:
		return 0, &LengthError{Value: value, Adjustment: by}
	case n > int64(limit):
		return 0, &TooLongError{Op: "read frame", Length: uint64(n), Limit: limit}
	}
	return int(n), nil
}

func (f LengthField) get(p []byte) (value uint64) {
	for i := range p {
		at := i
		if f.LittleEndian {
			at = len(p) - 1 - i
		}
		value = value<<8 | uint64(p[at])
	}
	return value
}

func (f LengthField) put(p []byte, value uint64) {
	for i := range p {
		at := len(p) - 1 - i
		if f.LittleEndian {
			at = i
		}
		p[at] = byte(value)
		value >>= 8
	}
}

// PutLength sets the length in a header of Offset+Size bytes at the beginning of p, for a frame with n bytes behind the
// length. It is for memory from Malloc, which stays in place until Flush, so that a length can be set when it is known.
// Too many bytes for Limit or for the field are a *[TooLongError].
func (f LengthField) PutLength(p []byte, n int) error {
	value, err := f.valueFor(n)
	if err != nil {
		return err
	}
	if len(p) < f.header() {
		return fmt.Errorf("write frame: header in %d bytes: %w: it has %d", len(p), ErrFormat, f.header())
	}
	f.put(p[f.Offset:f.header()], value)
	return nil
}

// valueFor returns what the field says for n bytes behind it.
func (f LengthField) valueFor(n int) (value uint64, err error) {
	limit, err := f.check()
	if err != nil {
		return 0, err
	}
	if n > limit {
		return 0, &TooLongError{Op: "write frame", Length: uint64(n), Limit: limit}
	}
	v := int64(n) - int64(f.Adjustment)
	if n < 0 || v < 0 {
		return 0, fmt.Errorf("write frame: %w: %d bytes, with an adjustment of %d", ErrFormat, n, f.Adjustment)
	}
	if f.Size < 8 && v >= 1<<(8*f.Size) {
		most := int64(1)<<(8*f.Size) - 1 + int64(f.Adjustment)
		return 0, &TooLongError{Op: "write frame", Length: uint64(n), Limit: int(max(0, min(most, math.MaxInt)))}
	}
	return uint64(v), nil
}

// WriteHeader writes head, which has Offset bytes, and the length for n bytes. The caller writes those, in whatever way,
// and flushes.
func (f LengthField) WriteHeader(w netpoll.Writer, head []byte, n int) error {
	value, err := f.valueFor(n)
	if err != nil {
		return err
	}
	if len(head) != f.Offset {
		return fmt.Errorf("write frame: %w: %d bytes before the length, not %d", ErrFormat, len(head), f.Offset)
	}
	p, err := w.Malloc(f.header())
	if err != nil {
		return err
	}
	copy(p, head)
	f.put(p[f.Offset:], value)
	return nil
}

// Write is WriteHeader, and then body. As WriteBinary does, it copies a short body and points to a long one, which must
// not be changed before Flush, which the caller calls, has returned nil.
func (f LengthField) Write(w netpoll.Writer, head, body []byte) error {
	if err := f.WriteHeader(w, head, len(body)); err != nil {
		return err
	}
	_, err := w.WriteBinary(body)
	return err
}

// Varint is the format of frames behind their length as a varint of package encoding/binary, as in streams of protocol
// buffers.
type Varint struct {
	// Limit is how many bytes a frame may have. 0 means DefaultLimit.
	Limit int
}

func (f Varint) least() (int, error) {
	_, err := limitOf(f.Limit)
	return 1, err
}

func (Varint) look(int) int { return binary.MaxVarintLen64 }

func (f Varint) measure(p []byte, _ int) (s span, err error) {
	value, head := binary.Uvarint(p)
	switch {
	case head < 0, head == 0 && len(p) >= binary.MaxVarintLen64:
		return s, &LengthError{}
	case head == 0:
		return span{need: len(p) + 1}, nil
	}
	limit, _ := limitOf(f.Limit)
	n, err := adjusted(value, 0, limit)
	return span{head: head, body: n}, err
}

// WriteHeader writes the length for n bytes. The caller writes those, in whatever way, and flushes.
func (f Varint) WriteHeader(w netpoll.Writer, n int) error {
	limit, err := limitOf(f.Limit)
	switch {
	case err != nil:
		return err
	case n < 0:
		return fmt.Errorf("write frame: %w: %d bytes", ErrFormat, n)
	case n > limit:
		return &TooLongError{Op: "write frame", Length: uint64(n), Limit: limit}
	}
	p, err := w.Malloc(varintSize(uint64(n)))
	if err != nil {
		return err
	}
	binary.PutUvarint(p, uint64(n))
	return nil
}

// varintSize returns how many bytes v takes.
func varintSize(v uint64) (n int) {
	for n = 1; v >= 0x80; n++ {
		v >>= 7
	}
	return n
}

// Write writes a frame. It treats body as [LengthField.Write] does.
func (f Varint) Write(w netpoll.Writer, body []byte) error {
	if err := f.WriteHeader(w, len(body)); err != nil {
		return err
	}
	_, err := w.WriteBinary(body)
	return err
}
