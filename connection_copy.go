package netpoll

// This file holds copying to and from a TCP connection, as package io asks for it: ReadFrom and WriteTo. Where the system
// can move the bytes by itself, connection_copy_linux.go lets it.

import (
	"io"
	"math"
)

// copyBlock is how much is copied at once where bytes have to be copied.
const copyBlock = 64 << 10

// ReadFrom writes all bytes of r, until its end, and returns how many they were; [io.Copy] and net/http use it. It is
// like a loop of Read and Write: pending output of Writer goes first, deadlines and timeouts hold for each wait, the
// end of r is no error, and errors are those of Write or of r. Other goroutines that write have their turn between two
// pieces; the bytes of a file stay together.
//
// On Linux the bytes do not pass through the process: those of a file are sent by sendfile, those of another connection,
// which may be a *TCPConnection, a *UnixConnection, a *net.TCPConn or a *net.UnixConn of streams, are spliced, after
// the bytes in its buffer. An [io.LimitedReader] around one of them is seen through. Everything else is copied: other
// readers, also types of yours that embed one of these, bytes that the kernel refuses to move, and all where no poller
// watches the connection.
func (c *TCPConnection) ReadFrom(r io.Reader) (n int64, err error) {
	limit, from := int64(math.MaxInt64), r
	limited, _ := r.(*io.LimitedReader)
	if limited != nil {
		if limit, from = limited.N, limited.R; limit <= 0 {
			return 0, nil
		}
	}
	n, done, err := c.moveFrom(from, limit)
	if limited != nil {
		limited.N -= n
	}
	if done || err != nil {
		return n, err
	}
	rest, err := copyBytes(writeSide{c}, r)
	return n + rest, err
}

// WriteTo writes everything that arrives to w, until the peer's end, and returns how many bytes that were; [io.Copy]
// uses it. It is like a loop of Read and Write, and counts as the one reader of the connection until it returns. If w
// is one of the connections that are listed at ReadFrom, the bytes are spliced there.
func (c *TCPConnection) WriteTo(w io.Writer) (n int64, err error) {
	n, done, err := c.moveTo(w, math.MaxInt64)
	if done || err != nil {
		return n, err
	}
	rest, err := copyBytes(w, readSide{c})
	return n + rest, err
}

// copyBytes is io.Copy with memory of the pool.
func copyBytes(w io.Writer, r io.Reader) (int64, error) {
	block := newBlock(copyBlock)
	defer block.free()
	return io.CopyBuffer(w, r, block.buf[:copyBlock])
}

// writeSide is a connection without ReadFrom, and without methods that write past its Write.
type writeSide struct{ c *TCPConnection }

func (w writeSide) Write(p []byte) (int, error) { return w.c.Write(p) }

// readSide is a connection without WriteTo, and without methods that read past its Read.
type readSide struct{ c *TCPConnection }

func (r readSide) Read(p []byte) (int, error) { return r.c.Read(p) }
