package netpoll

// This file holds the adapters between Reader and Writer and package io.

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// NewReader returns a Reader on r. If r is a Reader already, or comes from [NewIOReader], it is that Reader; otherwise
// the Reader has a buffer of its own and may read more from r than was asked for. An error of r is returned once, when
// the bytes before it are not enough, and the next call asks r again, as package bufio does; io.EOF comes as an error
// that Is [ErrEOF] and [ErrConnClosed]. The Reader is no io.Reader: [NewIOReader] makes one of it.
func NewReader(r io.Reader) Reader {
	if c := connectionOfValue(r); c != nil {
		return c
	}
	switch r := r.(type) {
	case *ioReader:
		return r.r
	case Reader:
		return r
	}
	return &streamReader{src: r}
}

// NewWriter returns a Writer on w. If w is a Writer already, or comes from [NewIOWriter], it is that Writer; otherwise
// its Flush calls w.Write, and keeps the bytes that w did not take for the next Flush. The Writer is no io.Writer:
// [NewIOWriter] makes one of it.
func NewWriter(w io.Writer) Writer {
	if c := connectionOfValue(w); c != nil {
		return c // its WriteString only queues, as that of every Writer
	}
	switch w := w.(type) {
	case *ioWriter:
		return w.w
	case Writer:
		return w
	}
	return &streamWriter{dst: w}
}

// NewReadWriter is [NewReader] and [NewWriter] for rw.
func NewReadWriter(rw io.ReadWriter) ReadWriter {
	if c := connectionOfValue(rw); c != nil {
		return c
	}
	switch rw := rw.(type) {
	case *ioReadWriter:
		return rw.rw
	case ReadWriter:
		return rw
	}
	return &streamReadWriter{streamReader{src: rw}, streamWriter{dst: rw}}
}

// NewIOReader returns an io.Reader on r: r itself if it is one, else an adapter. The adapter's Read waits only if
// nothing is buffered, and frees what was read, so slices of r must not be in use.
func NewIOReader(r Reader) io.Reader {
	if c := connectionOfValue(r); c != nil {
		return c.self
	}
	if reader, ok := r.(io.Reader); ok {
		return reader
	}
	return &ioReader{r}
}

// NewIOWriter returns an io.Writer on w: w itself if it is one, else an adapter whose Write flushes. After an error the
// bytes may stay queued in w.
func NewIOWriter(w Writer) io.Writer {
	if c := connectionOfValue(w); c != nil {
		return c.self // its WriteString sends, as that of every io.Writer
	}
	if writer, ok := w.(io.Writer); ok {
		return writer
	}
	return &ioWriter{w}
}

// NewIOReadWriter is [NewIOReader] and [NewIOWriter] for rw.
func NewIOReadWriter(rw ReadWriter) io.ReadWriter {
	if c := connectionOfValue(rw); c != nil {
		return c.self
	}
	if readWriter, ok := rw.(io.ReadWriter); ok {
		return readWriter
	}
	return &ioReadWriter{NewIOReader(rw), NewIOWriter(rw), rw}
}

// ioReader is a Reader as an io.Reader.
type ioReader struct{ r Reader }

// Read implements io.Reader.
func (a *ioReader) Read(p []byte) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	switch r := a.r.(type) {
	case *LinkBuffer:
		if n = r.readCopy(p); n == 0 {
			return 0, io.EOF
		}
		return n, nil
	case interface{ readTo([]byte) (int, error) }:
		return r.readTo(p)
	}
	q, err := a.r.Next(min(len(p), max(a.r.Len(), 1)))
	if err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, ErrEOF) || errors.Is(err, ErrNotEnoughData) {
			err = io.EOF
		}
		return 0, err
	}
	return copy(p, q), a.r.Release()
}

// ioWriter is a Writer as an io.Writer.
type ioWriter struct{ w Writer }

// Write implements io.Writer.
func (a *ioWriter) Write(p []byte) (n int, err error) {
	if s, ok := a.w.(interface{ writeThrough([]byte) (int, error) }); ok {
		return s.writeThrough(p)
	}
	q, err := a.w.Malloc(len(p))
	if err != nil {
		return 0, err
	}
	n = copy(q, p)
	if err = a.w.Flush(); err != nil {
		return 0, err
	}
	return n, nil
}

// ioReadWriter is a ReadWriter as an io.ReadWriter.
type ioReadWriter struct {
	io.Reader
	io.Writer
	rw ReadWriter
}

const (
	// streamChunk is how much a streamReader asks its source for, at least and, to begin with, at most.
	streamChunk = 4 << 10
	// maxStreamChunk limits the memory set aside for a large read before its bytes are there.
	maxStreamChunk = 1 << 20
)

// streamReader is a Reader on an io.Reader. It remembers an error only until it has returned it: a source that has ended
// may have more later, as a file that is written to or a bytes.Buffer does.
type streamReader struct {
	src io.Reader
	buf LinkBuffer
	err error // came with bytes; returned by the first call that needs more than those
}

var _ Reader = (*streamReader)(nil)

// fill reads from the source until n bytes are buffered.
func (s *streamReader) fill(n int) error {
	for s.buf.Len() < n {
		if _, err := s.more(n - s.buf.Len()); err != nil {
			return toErrEOF(err)
		}
	}
	return nil
}

// toErrEOF gives an error of a source the form that methods of Reader give it.
func toErrEOF(err error) error {
	if err == io.EOF {
		return Exception(ErrEOF, "")
	}
	return err
}

// more asks the source, preferably for n bytes, and returns new bytes, or else an error.
func (s *streamReader) more(n int) (fresh []byte, err error) {
	if err = s.takeError(); err != nil {
		return nil, err
	}
	p := s.buf.book(min(max(n, streamChunk), max(s.buf.Len(), maxStreamChunk)))
	n, err = s.ask(p)
	s.buf.bookAck(n)
	return p[:n], err
}

// takeError returns an error that no call has returned yet, and forgets it.
func (s *streamReader) takeError() (err error) {
	err, s.err = s.err, nil
	return err
}

// ask reads once from the source, and returns bytes or an error. An error that comes with bytes is kept for later.
func (s *streamReader) ask(p []byte) (n int, err error) {
	for range maxEmptyReads {
		n, err = s.src.Read(p)
		switch {
		case n < 0 || n > len(p):
			return 0, fmt.Errorf("netpoll: a Read of %d bytes returned %d", len(p), n)
		case n > 0:
			s.err = err
			return n, nil
		case err != nil:
			return 0, err
		}
	}
	return 0, io.ErrNoProgress
}

// Next implements Reader.
func (s *streamReader) Next(n int) (p []byte, err error) {
	if err = s.fill(n); err != nil {
		return nil, err
	}
	return s.buf.Next(n)
}

// Peek implements Reader.
func (s *streamReader) Peek(n int) (p []byte, err error) {
	if err = s.fill(n); err != nil {
		return nil, err
	}
	return s.buf.Peek(n)
}

// Skip implements Reader.
func (s *streamReader) Skip(n int) error {
	if err := s.fill(n); err != nil {
		return err
	}
	return s.buf.Skip(n)
}

// Until implements Reader.
func (s *streamReader) Until(delim byte) (line []byte, err error) {
	if i := s.buf.indexByte(delim, 0); i >= 0 {
		return s.buf.Next(i + 1)
	}
	for {
		seen := s.buf.Len()
		fresh, err := s.more(1)
		if err != nil {
			line, _ = s.buf.Next(seen)
			return line, toErrEOF(err)
		}
		if i := bytes.IndexByte(fresh, delim); i >= 0 {
			return s.buf.Next(seen + i + 1)
		}
	}
}

// ReadString implements Reader.
func (s *streamReader) ReadString(n int) (str string, err error) {
	if err = s.fill(n); err != nil {
		return "", err
	}
	return s.buf.ReadString(n)
}

// ReadBinary implements Reader.
func (s *streamReader) ReadBinary(n int) (p []byte, err error) {
	if err = s.fill(n); err != nil {
		return nil, err
	}
	return s.buf.ReadBinary(n)
}

// ReadByte implements Reader.
func (s *streamReader) ReadByte() (c byte, err error) {
	if err = s.fill(1); err != nil {
		return 0, err
	}
	return s.buf.ReadByte()
}

// Slice implements Reader.
func (s *streamReader) Slice(n int) (r Reader, err error) {
	if err = s.fill(n); err != nil {
		return nil, err
	}
	return s.buf.Slice(n)
}

// Release implements Reader.
func (s *streamReader) Release() error { return s.buf.Release() }

// Len implements Reader.
func (s *streamReader) Len() int { return s.buf.Len() }

// readTo is the Read of an adapter: it returns buffered bytes, or else reads from the source, without buffering if p is
// large. It is not called Read, because a streamReader must not pass for an io.Reader: programs test for that
// interface, and treat an io.Reader in another way.
func (s *streamReader) readTo(p []byte) (n int, err error) {
	switch {
	case s.buf.Len() > 0:
	case len(p) >= streamChunk:
		if err = s.takeError(); err == nil {
			s.buf.sweep(sweepAged) // as readCopy does
			n, err = s.ask(p)
		}
		return n, toEOF(err)
	default:
		if _, err = s.more(1); err != nil {
			return 0, toEOF(err)
		}
	}
	return s.buf.readCopy(p), nil
}

// toEOF gives an error of a source the form that Read gives it.
func toEOF(err error) error {
	if errors.Is(err, ErrEOF) {
		return io.EOF
	}
	return err
}

// streamWriter is a Writer on an io.Writer. Everything but Flush is its buffer's.
type streamWriter struct {
	dst io.Writer
	buf LinkBuffer
}

var _ Writer = (*streamWriter)(nil)

// writeBuffer returns the buffer whose content Append moves away.
func (s *streamWriter) writeBuffer() *LinkBuffer { return &s.buf }

// Malloc implements Writer.
func (s *streamWriter) Malloc(n int) ([]byte, error) { return s.buf.Malloc(n) }

// MallocLen implements Writer.
func (s *streamWriter) MallocLen() int { return s.buf.MallocLen() }

// MallocAck implements Writer.
func (s *streamWriter) MallocAck(n int) error { return s.buf.MallocAck(n) }

// WriteString implements Writer.
func (s *streamWriter) WriteString(str string) (int, error) { return s.buf.WriteString(str) }

// WriteBinary implements Writer.
func (s *streamWriter) WriteBinary(p []byte) (int, error) { return s.buf.WriteBinary(p) }

// WriteByte implements Writer.
func (s *streamWriter) WriteByte(c byte) error { return s.buf.WriteByte(c) }

// WriteDirect implements Writer.
func (s *streamWriter) WriteDirect(p []byte, remain int) error { return s.buf.WriteDirect(p, remain) }

// Append implements Writer.
func (s *streamWriter) Append(w Writer) error { return s.buf.Append(w) }

// Flush implements Writer. Bytes that the destination does not take stay queued.
func (s *streamWriter) Flush() error {
	_ = s.buf.Flush()
	for s.buf.Len() > 0 {
		piece, err := s.piece()
		if err != nil {
			return err
		}
		n, err := writeOnce(s.dst, piece)
		_ = s.buf.Skip(n)
		_ = s.buf.Release()
		if err != nil {
			return err
		}
	}
	return nil
}

// piece returns the bytes to write next: everything if it is little, else one block.
func (s *streamWriter) piece() ([]byte, error) {
	if n := s.buf.Len(); n <= maxJoined {
		return s.buf.Peek(n)
	}
	var one [1][]byte
	return s.buf.GetBytes(one[:])[0], nil
}

// writeOnce writes p, and makes sure that n is in range and that a short write is an error.
func writeOnce(w io.Writer, p []byte) (n int, err error) {
	n, err = w.Write(p)
	switch {
	case n < 0 || n > len(p):
		return 0, fmt.Errorf("netpoll: a Write of %d bytes returned %d", len(p), n)
	case n < len(p) && err == nil:
		err = io.ErrShortWrite
	}
	return n, err
}

// writeThrough flushes, and then writes p without copying it. It is not called Write, because a streamWriter must not
// pass for an io.Writer: package io would find its WriteString, which does not flush.
func (s *streamWriter) writeThrough(p []byte) (n int, err error) {
	if err = s.Flush(); err != nil || len(p) == 0 {
		return 0, err
	}
	return writeOnce(s.dst, p)
}

// streamReadWriter is a ReadWriter on an io.ReadWriter.
type streamReadWriter struct {
	streamReader
	streamWriter
}
