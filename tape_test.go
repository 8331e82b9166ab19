package netpoll

// This file holds the bytes that travel in random tests: an endless sequence, any piece of which is there without being
// made, so that a lost, doubled, misplaced or foreign byte is seen at little cost.

import (
	"bytes"
	"math/rand/v2"
)

const (
	// tapeLen is a prime, so that a shift of the bytes by any usual size is seen.
	tapeLen = 65521
	// maxPiece is the most that one step moves.
	maxPiece = 64 << 10
)

var tapeBytes = func() []byte {
	r := rand.New(rand.NewPCG(1, 2))
	p := make([]byte, tapeLen+maxPiece)
	for i := range p {
		if i < tapeLen {
			p[i] = byte(r.IntN(poison)) // never the poison
		} else {
			p[i] = p[i-tapeLen]
		}
	}
	return p
}()

// tape is the endless sequence of bytes of one direction of one connection.
type tape struct{ offset int64 }

// piece returns the n bytes from pos on. They must not be changed.
func (t tape) piece(pos int64, n int) []byte {
	i := (pos + t.offset) % tapeLen
	return tapeBytes[i : i+int64(n) : i+int64(n)]
}

// differs returns where p, which was found at pos, is not what belongs there; -1 if it is.
func (t tape) differs(pos int64, p []byte) int64 {
	for len(p) > 0 {
		n := min(len(p), maxPiece)
		if want := t.piece(pos, n); !bytes.Equal(want, p[:n]) {
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
