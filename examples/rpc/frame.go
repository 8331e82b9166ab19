package main

// This file holds the frames: 4 bytes for the length of the text, 8 for the number of the call, both big-endian, then
// the text.

import (
	"encoding/binary"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/framing"
)

const callSize = 8

// format limits how much a peer can make this side buffer: a connection buffers a frame until it is complete.
var format = framing.LengthField{Size: 4, Adjustment: callSize, Limit: callSize + 64<<10}

type frame struct {
	call uint64
	text string
}

// readFrame reads the next frame from r. It does not wait: ok is false if the frame has not arrived completely.
func readFrame(r netpoll.Reader) (f frame, ok bool, err error) {
	p, ok, err := framing.TryNext(r, format)
	if !ok || err != nil {
		return f, false, err
	}
	return frame{binary.BigEndian.Uint64(p), string(p[callSize:])}, true, nil // a copy, because it outlives Release
}

// buffer returns the frame in a buffer of its own, for a mux.ShardQueue.
func (f frame) buffer() (netpoll.Writer, error) {
	b := netpoll.NewLinkBuffer()
	if err := format.WriteHeader(b, nil, callSize+len(f.text)); err != nil {
		return nil, err
	}
	call, err := b.Malloc(callSize)
	if err != nil {
		return nil, err
	}
	binary.BigEndian.PutUint64(call, f.call)
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
