package netpoll

// This file holds the interfaces Reader and Writer. The adapters between them and package io are in ioadapter.go.

// Reader reads a stream without copying: slices that it returns point into its own memory until Release.
//
// A Reader in front of a source (a [Connection], or one from [NewReader]) waits in Next, Peek, Skip, Until,
// ReadString, ReadBinary, ReadByte and Slice until enough bytes are there, the source has ended, or a timeout passed.
// If enough bytes are buffered, the method succeeds in every state. Otherwise it returns only an error, and the
// buffered bytes stay readable (except with Until). A bare [LinkBuffer] never waits.
//
// Sizes are in bytes; a size of zero or less gives zero values and no error, at once. One goroutine at a time.
type Reader interface {
	// Next returns the next n bytes and consumes them. The slice has length and capacity n, and stays valid and
	// unchanged until Release.
	Next(n int) (p []byte, err error)

	// Peek is Next without consuming.
	Peek(n int) (buf []byte, err error)

	// Skip consumes n bytes.
	Skip(n int) (err error)

	// Until returns everything up to and including the first delim, like Next. If it fails before it finds one, it
	// consumes the buffered bytes and returns them together with the error.
	Until(delim byte) (line []byte, err error)

	// ReadString is Next with a copy, which is valid for ever.
	ReadString(n int) (s string, err error)

	// ReadBinary is Next with a copy, which is valid for ever and belongs to the caller.
	ReadBinary(n int) (p []byte, err error)

	// ReadByte consumes one byte.
	ReadByte() (b byte, err error)

	// Slice moves the next n bytes, without copying, to a Reader of their own, which another goroutine may use and
	// which is an [io.Closer] too. Its memory is given back when it has been read and released, or closed.
	//
	// Slice also frees what was read before, so a caller that only slices need not call Release. But slices that Next
	// and Peek returned since the last Slice or Release stay valid until the next one. Read of a connection or an
	// adapter frees memory in the same way.
	Slice(n int) (r Reader, err error)

	// Release frees what has been read. Slices returned by Next, Peek and Until must not be used any more. It does
	// not wait.
	Release() (err error)

	// Len returns the number of bytes that can be read without waiting.
	Len() (length int)
}

// Writer writes a stream without copying: memory is reserved, filled in by the caller, and sent by Flush. Nothing is
// sent, and nothing waits, before Flush.
//
// One goroutine at a time. Misuse is an error and changes nothing.
type Writer interface {
	// Malloc reserves the next n bytes of the output and returns them, to be filled in until Flush. They stay in place
	// while more is written. Their content is arbitrary at first. With n <= 0 it returns nil.
	Malloc(n int) (buf []byte, err error)

	// WriteString writes s. A string longer than [BinaryInplaceThreshold] is referenced, not copied.
	WriteString(s string) (n int, err error)

	// WriteBinary writes b. Up to [BinaryInplaceThreshold] bytes are copied; a longer b is referenced, and must not
	// be changed until Flush has returned nil.
	WriteBinary(b []byte) (n int, err error)

	// WriteByte writes one byte.
	WriteByte(b byte) (err error)

	// WriteDirect inserts p, by reference, before the last remainCap bytes that were written since the last Flush. So
	//
	//	buf, _ := w.Malloc(a + b)
	//	w.WriteDirect(p, b)
	//
	// sends buf[:a], p, buf[a:]. Later calls count p among the bytes written.
	WriteDirect(p []byte, remainCap int) error

	// MallocAck keeps the first n bytes that were written since the last Flush, in whatever way, and discards the
	// rest.
	MallocAck(n int) (err error)

	// Append moves everything in w, a [*LinkBuffer], flushed or not, to the end of the output without copying, and
	// leaves w empty.
	Append(w Writer) (err error)

	// Flush sends everything written so far. For a [Connection] it waits until the kernel has taken all, or for the
	// write timeout or deadline; unsent output stays queued, and the next Flush sends it first. A small output may be
	// left to the poller, which sends it at once with that of others; see [WithDirectFlush].
	Flush() (err error)

	// MallocLen returns the number of bytes written since the last Flush.
	MallocLen() (length int)
}

// ReadWriter is a Reader and a Writer. The two may be used at the same time by two goroutines.
type ReadWriter interface {
	Reader
	Writer
}
