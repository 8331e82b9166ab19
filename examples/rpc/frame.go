package main

// This file holds the frames: 4 bytes for the length of the text, 8 for the number of the call, both big-endian, then
// the text.

import (
	"encoding/binary"
	"fmt"

	"github.com/cloudwego/netpoll"
)

const (
	headerSize = 12
	// maxText limits how much a peer can make this side buffer: a connection buffers a frame until it is complete.
	maxText = 64 << 10
)

type frame struct {
	call uint64
	text string
}

// readFrame reads the next frame from r. It does not wait: ok is false if the frame has not arrived completely.
func readFrame(r netpoll.Reader) (f frame, ok bool, err error) {
	if r.Len() < headerSize {
		return f, false, nil
	}
	header, err := r.Peek(headerSize)
	if err != nil {
		return f, false, err
	}
	size := int(binary.BigEndian.Uint32(header))
	f.call = binary.BigEndian.Uint64(header[4:])
	if size > maxText {
		return f, false, fmt.Errorf("frame of %d bytes: at most %d are allowed", size, maxText)
	}
	if r.Len() < headerSize+size {
		return f, false, nil
	}
	if err := r.Skip(headerSize); err != nil {
		return f, false, err
	}
	f.text, err = r.ReadString(size) // a copy, because it outlives Release
	return f, err == nil, err
}

// buffer returns the frame in a buffer of its own, for a mux.ShardQueue.
func (f frame) buffer() (netpoll.Writer, error) {
	b := netpoll.NewLinkBuffer(headerSize + len(f.text))
	header, err := b.Malloc(headerSize)
	if err != nil {
		return nil, err
	}
	binary.BigEndian.PutUint32(header, uint32(len(f.text)))
	binary.BigEndian.PutUint64(header[4:], f.call)
	_, err = b.WriteString(f.text)
	return b, err
}

// forEachFrame is the body of a handler: it reads the frames that have arrived and returns. netpoll calls the handler
// again when more has arrived.
func forEachFrame(conn netpoll.Connection, handle func(frame)) error {
	r := conn.Reader()
	defer r.Release()
	for {
		f, ok, err := readFrame(r)
		if err != nil {
			conn.Close() // the bytes after a bad frame cannot be read
			return err
		}
		if !ok {
			return nil
		}
		handle(f)
	}
}
