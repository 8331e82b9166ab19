package testkit

// This file holds bytes that tests send. They show when one is lost, doubled, misplaced or foreign.

import (
	"bytes"
	"math/rand/v2"
)

// Pattern returns n bytes, no 251 of which repeat, so that a shift or an exchange is seen.
func Pattern(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i % 251)
	}
	return p
}

const (
	// StreamPeriod is after how many bytes a Stream repeats. It is a prime, so that a shift of the bytes by any usual
	// size is seen.
	StreamPeriod = 65521
	// MaxPiece is the most that one step of a random test moves.
	MaxPiece = 64 << 10
	// beyondStream is above every byte of a Stream, so that none is taken for the pattern of released memory.
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

// Stream is the endless sequence of bytes of one direction of one connection. No piece of it has to be computed, so
// checking costs little.
type Stream struct {
	// Offset distinguishes it from the streams of other connections.
	Offset int64
}

// Piece returns the n bytes from pos on, at most MaxPiece. They must not be changed.
func (s Stream) Piece(pos int64, n int) []byte {
	i := (pos + s.Offset) % StreamPeriod
	return streamBytes[i : i+int64(n) : i+int64(n)]
}

// Differs returns the position of the first byte of p, which was found at pos, that is wrong; -1 if there is none.
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
