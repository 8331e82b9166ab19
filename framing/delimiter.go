package framing

// This file holds the formats whose frames end with a delimiter.

import (
	"bytes"
	"fmt"
	"unsafe"

	"github.com/cloudwego/netpoll"
)

// firstLook is how far is looked for a delimiter to begin with. Looking further may merge blocks, which copies.
const firstLook = 512

// lookForEnd doubles how far is looked, so that all looks together cost about as much as the last one.
func lookForEnd(seen, most int) int { return min(max(firstLook, 2*seen), most) }

// Delimiter is the format of frames that end with certain bytes, which are not part of the frame. A frame ends at the
// first place where they are.
//
// A frame that arrives in small pieces is searched again from its beginning with each call of TryNext: a small Limit also
// limits that.
type Delimiter struct {
	// Delim is the delimiter, one byte or more.
	Delim string
	// Limit is how many bytes a frame may have without it. 0 means DefaultLimit.
	Limit int
}

// maxDelim is the longest delimiter.
const maxDelim = 64 << 10

func (f Delimiter) check() (limit int, err error) {
	if f.Delim == "" || len(f.Delim) > maxDelim {
		return 0, fmt.Errorf("%w: delimiter of %d bytes", ErrFormat, len(f.Delim))
	}
	return limitOf(f.Limit)
}

func (f Delimiter) least() (int, error) {
	_, err := f.check()
	return len(f.Delim), err
}

func (f Delimiter) look(seen int) int {
	limit, _ := f.check()
	return lookForEnd(seen, limit+len(f.Delim))
}

func (f Delimiter) measure(p []byte, seen int) (s span, err error) {
	limit, _ := f.check()
	from := max(seen-len(f.Delim)+1, 0)
	if i := bytes.Index(p[from:], f.delim()); i >= 0 {
		return span{body: from + i, tail: len(f.Delim)}, nil
	}
	if len(p) >= limit+len(f.Delim) {
		return s, &TooLongError{Op: "read frame", Limit: limit}
	}
	return span{need: len(p) + 1}, nil
}

// delim returns the delimiter's own bytes, which are not to be changed.
func (f Delimiter) delim() []byte { return unsafe.Slice(unsafe.StringData(f.Delim), len(f.Delim)) }

// Write writes a frame and the delimiter. As WriteBinary does, it copies a short frame and points to a long one, which
// must not be changed before Flush, which the caller calls, has returned nil. A frame that would be read as another one,
// because the delimiter would be found inside, is a *[DelimiterError]; a long one is a *[TooLongError].
func (f Delimiter) Write(w netpoll.Writer, frame []byte) error {
	limit, err := f.check()
	switch {
	case err != nil:
		return err
	case len(frame) > limit:
		return &TooLongError{Op: "write frame", Length: uint64(len(frame)), Limit: limit}
	}
	if at := f.endIn(frame); at >= 0 {
		return &DelimiterError{At: at}
	}
	if _, err := w.WriteBinary(frame); err != nil {
		return err
	}
	_, err = w.WriteString(f.Delim)
	return err
}

// endIn returns where a reader would find the delimiter too early: in the frame, or beginning with its last bytes. It
// returns -1 if it would not.
func (f Delimiter) endIn(frame []byte) (at int) {
	d := f.delim()
	if at := bytes.Index(frame, d); at >= 0 {
		return at
	}
	for at := max(len(frame)-len(d)+1, 0); at < len(frame); at++ {
		rest := frame[at:]
		if bytes.HasPrefix(d, rest) && bytes.HasPrefix(d, d[len(rest):]) {
			return at
		}
	}
	return -1
}

// DelimiterError tells that a frame was not written because of bytes in it that would end it.
type DelimiterError struct {
	At int // where they begin in the frame
}

// Error implements error.
func (e *DelimiterError) Error() string {
	return fmt.Sprintf("write frame: delimiter inside, at byte %d", e.At)
}

// Line is the format of lines. A line ends with "\n", or with "\r\n", and is returned without either.
type Line struct {
	// CRLF makes Write end lines with "\r\n". Both are read in any case.
	CRLF bool
	// Limit is how many bytes a line may have without its end. 0 means DefaultLimit.
	Limit int
}

func (f Line) least() (int, error) {
	_, err := limitOf(f.Limit)
	return 1, err
}

func (f Line) look(seen int) int {
	limit, _ := limitOf(f.Limit)
	return lookForEnd(seen, limit+len("\r\n"))
}

func (f Line) measure(p []byte, seen int) (s span, err error) {
	limit, _ := limitOf(f.Limit)
	end := bytes.IndexByte(p[seen:], '\n')
	if end >= 0 {
		s = lineUntil(p[:seen+end])
	}
	if s.body > limit || end < 0 && len(p) >= limit+len("\r\n") {
		return s, &TooLongError{Op: "read frame", Limit: limit}
	}
	if end < 0 {
		s.need = len(p) + 1
	}
	return s, nil
}

// lineUntil returns the span of a line whose "\n" comes behind p.
func lineUntil(p []byte) span {
	if n := len(p); n > 0 && p[n-1] == '\r' {
		return span{body: n - 1, tail: 2}
	}
	return span{body: len(p), tail: 1}
}

// Write writes a line and its end. It treats the line as [Delimiter.Write] does: one with "\n" inside, or with "\r" at the
// end where that would be taken for a part of the line's end, is a *[DelimiterError].
func (f Line) Write(w netpoll.Writer, line []byte) error {
	limit, err := limitOf(f.Limit)
	switch {
	case err != nil:
		return err
	case len(line) > limit:
		return &TooLongError{Op: "write frame", Length: uint64(len(line)), Limit: limit}
	}
	if at := bytes.IndexByte(line, '\n'); at >= 0 {
		return &DelimiterError{At: at}
	}
	if last := len(line) - 1; !f.CRLF && last >= 0 && line[last] == '\r' {
		return &DelimiterError{At: last}
	}
	if _, err := w.WriteBinary(line); err != nil {
		return err
	}
	if f.CRLF {
		_, err = w.WriteString("\r\n")
		return err
	}
	return w.WriteByte('\n')
}
