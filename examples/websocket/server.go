package main

// This file holds the server, in two handlers: one for the request that opens the WebSocket, one for its frames. Both take
// what has arrived and return, and netpoll calls them again when there is more.

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/framing"
	"github.com/gobwas/ws"
)

const (
	endOfRequest = "\r\n\r\n"
	maxFrame     = 64 << 10 // a connection buffers a frame until it is complete
)

var requests = framing.Delimiter{Delim: endOfRequest, Limit: 8 << 10}

// upgrade is the handler of a connection that has not become a WebSocket yet.
func upgrade(_ context.Context, conn netpoll.Connection) error {
	r := conn.Reader()
	defer r.Release()
	head, ok, err := framing.TryNext(r, requests)
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	if !ok {
		return nil
	}
	request := struct {
		io.Reader
		io.Writer
	}{io.MultiReader(bytes.NewReader(head), strings.NewReader(endOfRequest)), conn}
	if _, err := ws.Upgrade(request); err != nil {
		return errors.Join(err, conn.Close())
	}
	return conn.SetOnRequest(new(session).onRequest) // it gets all input from here on
}

// session is what the server keeps for a WebSocket.
type session struct {
	fragmented bool // a message has begun, and goes on in the next frame
}

// onRequest handles the frames that have arrived.
func (s *session) onRequest(_ context.Context, conn netpoll.Connection) error {
	r, w := conn.Reader(), conn.Writer()
	defer r.Release()
	for {
		h, payload, ok, err := s.next(r)
		if err == nil && ok {
			err = answer(w, h, payload)
		}
		if err != nil {
			return errors.Join(err, w.Flush(), conn.Close())
		}
		if !ok {
			return w.Flush()
		}
	}
}

// next returns the next frame. ok is false if it has not arrived completely.
func (s *session) next(r netpoll.Reader) (h ws.Header, payload []byte, ok bool, err error) {
	p, err := r.Peek(min(r.Len(), ws.MaxHeaderSize))
	if err != nil {
		return h, nil, false, err
	}
	switch h, err = ws.ReadHeader(bytes.NewReader(p)); {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return h, nil, false, nil
	case err != nil:
		return h, nil, false, err
	}
	if err := ws.CheckHeader(h, s.state()); err != nil {
		return h, nil, false, err
	}
	if h.Length > maxFrame {
		return h, nil, false, ws.ErrHeaderLengthUnexpected
	}
	size := ws.HeaderSize(h)
	if r.Len() < size+int(h.Length) {
		return h, nil, false, nil
	}
	frame, err := r.Next(size + int(h.Length))
	if err != nil {
		return h, nil, false, err
	}
	payload = frame[size:]
	ws.Cipher(payload, h.Mask, 0) // in place: nobody else has these bytes, and Release comes after it
	if !h.OpCode.IsControl() {
		s.fragmented = !h.Fin
	}
	return h, payload, true, nil
}

func (s *session) state() ws.State {
	if s.fragmented {
		return ws.StateServerSide | ws.StateFragmented
	}
	return ws.StateServerSide
}

// answer queues the answer to a frame: what it says. The error io.EOF ends the connection, after its answer.
func answer(w netpoll.Writer, h ws.Header, payload []byte) error {
	reply := ws.Header{Fin: h.Fin, OpCode: h.OpCode, Length: h.Length}
	switch h.OpCode {
	case ws.OpPing:
		reply.OpCode = ws.OpPong
	case ws.OpPong:
		return nil
	}
	if err := ws.WriteHeader(queue{w}, reply); err != nil {
		return err
	}
	if _, err := w.WriteBinary(payload); err != nil { // pointed to, if it is long, until Flush
		return err
	}
	if h.OpCode == ws.OpClose {
		return io.EOF
	}
	return nil
}

// queue is the io.Writer that a Writer is not: it sends nothing before Flush. It is for less than 4096 bytes, which
// WriteBinary copies.
type queue struct{ netpoll.Writer }

func (q queue) Write(p []byte) (int, error) { return q.WriteBinary(p) }
