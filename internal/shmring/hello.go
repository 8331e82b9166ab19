package shmring

// This file holds the message with which the two sides agree, before any byte of the stream. It comes over a Unix socket,
// with the descriptor of the sender's region. All numbers are little-endian.

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Hello is that message. The client sends one, and the server answers with one.
type Hello struct {
	Answer Answer
	Ring   int // size of the ring of the sender's region, in bytes; 0 if it has none
}

// Answer is what a side has decided.
type Answer uint32

// The answers.
const (
	Shared  Answer = iota + 1 // the stream goes through shared memory; the descriptor of a region is with the message
	Plain                     // the stream goes over the socket
	Refused                   // the connection ends
)

const (
	magic   = "netpollshm"
	version = 1

	// HelloSize is the size of a Hello, in bytes.
	HelloSize = 32
)

// ErrHello says that the bytes are no Hello, or one of another version.
var ErrHello = errors.New("shared memory: no greeting of a version that is known")

// ErrVersion is the [ErrHello] of a Hello of another version.
var ErrVersion = fmt.Errorf("%w: the peer has another one", ErrHello)

// Encode writes h.
func (h Hello) Encode() []byte {
	p := make([]byte, HelloSize)
	copy(p, magic)
	binary.LittleEndian.PutUint16(p[10:], version)
	binary.LittleEndian.PutUint32(p[12:], uint32(h.Answer))
	binary.LittleEndian.PutUint64(p[16:], uint64(h.Ring))
	return p
}

// Begins reports whether p may be the beginning of a Hello.
func Begins(p []byte) bool {
	return string(p[:min(len(p), len(magic))]) == magic[:min(len(p), len(magic))]
}

// Decode reads a Hello, all of whose bytes are checked. Each version has the same size, magic, and place of version and
// answer, so of another version h has the answer, unless that is Shared, and the error Is [ErrVersion].
func Decode(p []byte) (h Hello, err error) {
	if len(p) != HelloSize || !Begins(p) {
		return h, ErrHello
	}
	answer := Answer(binary.LittleEndian.Uint32(p[12:]))
	if v := binary.LittleEndian.Uint16(p[10:]); v != version {
		if answer == Plain || answer == Refused {
			h.Answer = answer
		}
		return h, fmt.Errorf("%w: %d for %d", ErrVersion, v, version)
	}
	h.Answer = answer
	ring := binary.LittleEndian.Uint64(p[16:])
	if h.Answer < Shared || h.Answer > Refused || ring > MaxRing || binary.LittleEndian.Uint64(p[24:]) != 0 {
		return h, ErrHello
	}
	if h.Ring = int(ring); (h.Answer == Shared) != (h.Ring > 0) || h.Ring > 0 && !ValidRing(h.Ring) {
		return h, ErrHello
	}
	return h, nil
}
