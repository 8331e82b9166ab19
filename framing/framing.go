// Package framing finds frames in a stream of bytes, and writes them: behind a length ([LengthField], [Varint]), or
// before a delimiter ([Delimiter], [Line]). Frames are slices of the [netpoll.Reader]'s own memory, and reading or
// writing one allocates nothing.
//
// A handler takes the frames that have arrived, and returns. The bytes of a frame that is not complete stay in the
// Reader, without a goroutine, and the handler is called again when there are more:
//
//	var frames = framing.LengthField{Size: 4, Limit: 64 << 10}
//
//	func onRequest(ctx context.Context, conn netpoll.Connection) error {
//		r := conn.Reader()
//		defer r.Release() // gives back the memory of the frames
//		for {
//			frame, ok, err := framing.TryNext(r, frames)
//			if err != nil {
//				return errors.Join(err, conn.Close()) // what follows a bad frame cannot be read
//			}
//			if !ok {
//				return nil
//			}
//			...
//		}
//	}
//
// [Next] waits for a frame instead: for a client, or for a goroutine that has a connection to itself.
//
// The fields of a format are settings. They are checked by each call, which returns an error that Is [ErrFormat] if
// there cannot be frames of that format. Formats have no state: one value serves any number of connections and
// goroutines.
package framing

import (
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/cloudwego/netpoll"
)

// DefaultLimit is the Limit of formats that have none of their own, in bytes.
const DefaultLimit = 1 << 20

// ErrFormat is what errors are that come from the fields of a format, such as a length of five bytes.
var ErrFormat = errors.New("unusable format")

// TooLongError tells that a frame is longer than its format allows. When it was read nothing of it has been consumed, and
// when it was to be written nothing was.
type TooLongError struct {
	Op     string // "read frame" or "write frame"
	Length uint64 // bytes of the frame, 0 if its end has not been seen
	Limit  int    // bytes that are allowed
}

// Error implements error.
func (e *TooLongError) Error() string {
	if e.Length == 0 {
		return fmt.Sprintf("%s: no end within %d bytes", e.Op, e.Limit)
	}
	return fmt.Sprintf("%s: %d bytes, at most %d are allowed", e.Op, e.Length, e.Limit)
}

// LengthError tells that no frame can have the length that was read: with the adjustment it is negative, or its varint has
// more than 64 bits. Nothing has been consumed.
type LengthError struct {
	Value      uint64 // of the field; 0 for a varint
	Adjustment int
}

// Error implements error.
func (e *LengthError) Error() string {
	if e.Adjustment == 0 {
		return "read frame: length of more than 64 bits"
	}
	return fmt.Sprintf("read frame: length %d, adjusted by %d", e.Value, e.Adjustment)
}

// TruncatedError tells that the stream ended inside a frame. It Is [io.ErrUnexpectedEOF], and what the Reader has
// returned. The bytes are still in the Reader.
type TruncatedError struct {
	Buffered int   // bytes of the frame that have arrived
	Err      error // of the Reader
}

// Error implements error.
func (e *TruncatedError) Error() string {
	return fmt.Sprintf("read frame: the stream ended %d bytes into it: %v", e.Buffered, e.Err)
}

// Unwrap gives errors.Is both.
func (e *TruncatedError) Unwrap() []error { return []error{io.ErrUnexpectedEOF, e.Err} }

// Format is a [LengthField], a [Varint], a [Delimiter] or a [Line].
type Format interface {
	// least is how many bytes every frame has at least, with what surrounds it; never 0. An error Is ErrFormat.
	least() (int, error)
	// look is how far to look, if so many bytes are there, when seen bytes have been looked at.
	look(seen int) int
	// measure looks at p, the beginning of the input, without the first seen bytes, which it has looked at before.
	measure(p []byte, seen int) (span, error)
}

// span is where a frame is.
type span struct {
	head, body, tail int // bytes before it, its own, and behind it
	need             int // not known yet: so many bytes have to be there. Else 0
}

func (s span) total() int { return s.head + s.body + s.tail }

// of returns the frame in p, which has all of the span.
func (s span) of(p []byte) []byte {
	end := s.head + s.body
	return p[s.head:end:end]
}

// Next consumes the next frame and returns it without what surrounds it. It waits until all of the frame is there, and as
// long as a method of r does: until a timeout, or the end of the input. After an error nothing is consumed, so after a
// timeout it can be called again. The frame belongs to r, and stays as it is until r.Release.
//
// At the end of the input the error is r's own (ErrEOF for a connection) between two frames, and a *[TruncatedError]
// inside one.
func Next[F Format](r netpoll.Reader, format F) (frame []byte, err error) {
	s, _, err := find(r, format, true)
	if err != nil {
		return nil, err
	}
	p, err := r.Next(s.total())
	if err != nil {
		return nil, ended(r, err)
	}
	return s.of(p), nil
}

// TryNext is Next that never waits: if the frame is not complete, ok is false and nothing is consumed. It is for handlers.
//
// A handler is called once more at the end of the input. If IsActive of the connection was false before a TryNext that
// returned false, no more will come, and bytes that are left in r are those of a truncated frame.
func TryNext[F Format](r netpoll.Reader, format F) (frame []byte, ok bool, err error) {
	s, ok, err := find(r, format, false)
	if !ok || err != nil {
		return nil, false, err
	}
	p, err := r.Next(s.total())
	if err != nil {
		return nil, false, err
	}
	return s.of(p), true, nil
}

// Slice is Next that returns the frame as a Reader of its own: it is never copied, also if it lies in several blocks, and
// another goroutine may use it while r goes on. Its Release, or Close, gives the memory back. It allocates.
func Slice[F Format](r netpoll.Reader, format F) (frame netpoll.Reader, err error) {
	s, _, err := find(r, format, true)
	if err != nil {
		return nil, err
	}
	return s.cut(r)
}

// TrySlice is Slice that never waits, as TryNext is for Next.
func TrySlice[F Format](r netpoll.Reader, format F) (frame netpoll.Reader, ok bool, err error) {
	s, ok, err := find(r, format, false)
	if !ok || err != nil {
		return nil, false, err
	}
	frame, err = s.cut(r)
	return frame, err == nil, err
}

// cut takes the span out of r. It waits for all of it first.
func (s span) cut(r netpoll.Reader) (frame netpoll.Reader, err error) {
	whole, err := r.Slice(s.total())
	if err != nil {
		return nil, ended(r, err)
	}
	if s.head == 0 && s.tail == 0 {
		return whole, nil
	}
	if err := whole.Skip(s.head); err != nil {
		return nil, err
	}
	frame, err = whole.Slice(s.body)
	if err != nil {
		return nil, err
	}
	if err := whole.Skip(s.tail); err != nil {
		return nil, err
	}
	return frame, whole.Release()
}

// find returns where the next frame is. If it may wait, it waits until that is known; else ok is false unless all of the
// frame is there.
func find[F Format](r netpoll.Reader, format F, wait bool) (s span, ok bool, err error) {
	need, err := format.least()
	if err != nil {
		return s, false, err
	}
	for seen := 0; ; need = s.need {
		have := r.Len()
		if !wait && have < need {
			return s, false, nil
		}
		p, err := r.Peek(max(need, min(have, format.look(seen))))
		if err != nil {
			return s, false, ended(r, err)
		}
		if s, err = format.measure(p, seen); err != nil {
			return s, false, err
		}
		if s.need == 0 {
			return s, wait || r.Len() >= s.total(), nil
		}
		seen = len(p)
	}
}

// ended makes the end of the input inside a frame a *TruncatedError, and leaves all other errors as they are.
func ended(r netpoll.Reader, err error) error {
	if n := r.Len(); n > 0 && (errors.Is(err, netpoll.ErrEOF) || errors.Is(err, io.EOF)) {
		return &TruncatedError{Buffered: n, Err: err}
	}
	return err
}

// maxLimit leaves room for what surrounds a frame, so that no sum of sizes is more than an int.
const maxLimit = math.MaxInt - 1<<20

// limitOf returns the limit that a format has.
func limitOf(limit int) (int, error) {
	switch {
	case limit < 0:
		return 0, fmt.Errorf("%w: limit of %d bytes", ErrFormat, limit)
	case limit == 0:
		return DefaultLimit, nil
	}
	return min(limit, maxLimit), nil
}
