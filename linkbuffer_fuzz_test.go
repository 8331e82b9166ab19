package netpoll

// This file runs random programs against the model of LinkBuffer.

import (
	"math/rand/v2"
	"testing"
)

// FuzzLinkBuffer runs a program of operations on several buffers and compares everything with the model.
func FuzzLinkBuffer(f *testing.F) {
	for seed := range uint64(4) {
		f.Add(randomProgram(seed, 200))
	}
	f.Fuzz(runProgram)
}

func randomProgram(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	return p
}

// TestLinkBufferAgreesWithModel runs programs that are long enough to reach states that a short fuzz run does not.
func TestLinkBufferAgreesWithModel(t *testing.T) {
	for seed := range uint64(60) {
		runProgram(t, randomProgram(seed, 2000))
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}
