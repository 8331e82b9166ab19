package testkit

// This file holds bytes that tests send. They show when one is lost, repeated, misplaced, or of another stream.

import (
	"bytes"
	"math/rand/v2"
)

// Pattern returns n bytes with a period of 251, so that a shift or an exchange shows.
func Pattern(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i % 251)
	}
	return p
}

const (
	// StreamPeriod is the number of bytes after which a Stream repeats. It is a prime, so that a shift by any usual size
	// shows.
	StreamPeriod = 65521
	// MaxPiece is how many bytes one step of a random test moves at most.
	MaxPiece = 64 << 10
	// beyondStream is greater than every byte of a Stream, so that no byte can be mistaken for the pattern of released
	// memory.
	beyondStream = 0xDB
)

var streamBytes = func() []byte {
	r := rand.New(rand.NewPCG(1, 2))
	p := make([]byte, StreamPeriod+MaxPiece)
	for i := range p {
		if i < StreamPeriod {
			p[i] = byte(r.IntN(beyondStream))
		} else {
			p[i] = p[i-StreamPeriod]
		}
	}
	return p
}()

// Stream is the endless sequence of bytes of one direction of one connection. Its pieces are slices of one table, so
// checking costs little.
type Stream struct {
	// Offset makes this stream different from those of other connections.
	Offset int64
}

// Piece returns the n bytes from pos on. n is at most MaxPiece. The caller must not change them.
func (s Stream) Piece(pos int64, n int) []byte {
	i := (pos + s.Offset) % StreamPeriod
	return streamBytes[i : i+int64(n) : i+int64(n)]
}

// Differs compares p, which begins at pos, with the stream. It returns the position of the first wrong byte, or -1.
func (s Stream) Differs(pos int64, p []byte) int64 {
	for len(p) > 0 {
		n := min(len(p), MaxPiece)
		if want := s.Piece(pos, n); !bytes.Equal(want, p[:n]) {
			for i := range want {
				if want[i] != p[i] {
					return pos + int64(i)
				}
			}
		}
		pos, p = pos+int64(n), p[n:]
	}
	return -1
}
