package netpoll

// This file holds the two faces of a connection. Programs get a *TCPConnection, a *UnixConnection or a
// *streamConnection. It is a net.Conn first: where package io or net/http finds a method on it, the method does what
// package io says. Reader and Writer return the connection below it, whose WriteString and WriteByte only queue.

import (
	"io"
	"unsafe"
)

// streamConnection is a [Connection] over any byte stream; connections over TCP and Unix sockets embed it. A pointer to
// the connection in it is the other face, so changing from one to the other allocates nothing.
type streamConnection struct{ connection }

var (
	_ io.StringWriter = (*streamConnection)(nil)
	_ io.ByteWriter   = (*streamConnection)(nil)
	_ io.ByteReader   = (*streamConnection)(nil)
)

// WriteString is Write for a string: it sends, as [io.WriteString] expects of a net.Conn. To queue a string use Writer.
func (s *streamConnection) WriteString(str string) (n int, err error) {
	return s.Write(unsafe.Slice(unsafe.StringData(str), len(str))) // Write neither changes nor keeps it
}

// WriteByte is Write for one byte: it sends, as package io expects. To queue a byte use Writer.
func (s *streamConnection) WriteByte(b byte) error {
	_, err := s.Write(everyByte[b:][:1])
	return err
}

// everyByte has at each index the byte of that value, for a Write of one byte without an allocation. It is never
// changed.
var everyByte = func() (list [256]byte) {
	for i := range list {
		list[i] = byte(i)
	}
	return list
}()

// ReadByte is Read for one byte. At the end of the stream it returns exactly io.EOF; the ReadByte of Reader does not.
func (s *streamConnection) ReadByte() (b byte, err error) {
	return readSome(&s.connection, func(in *LinkBuffer) (byte, error) {
		var p [1]byte
		in.readCopy(p[:]) // frees what was read: a caller that only reads bytes need not call Release
		return p[0], nil
	})
}

// connectionOfValue returns the connection behind v if v is either face of one; else nil.
func connectionOfValue(v any) *connection {
	switch c := v.(type) {
	case *TCPConnection:
		return &c.connection
	case *UnixConnection:
		return &c.connection
	case *streamConnection:
		return &c.connection
	case *connection:
		return c
	}
	return nil
}
