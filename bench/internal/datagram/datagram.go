// Package datagram is the protocol of the servers of datagrams.
package datagram

import "encoding/binary"

// Kind is the first byte of a datagram: what becomes of it.
type Kind byte

// The kinds.
const (
	Echo Kind = 'e' // it is sent back
	Drop Kind = 'd' // it is counted, as stat.Counted
)

// MinSize is the size of the smallest datagram, in bytes: its kind and a number.
const MinSize = 9

// Buffer is how large servers ask the system to make the buffer for what arrives, in bytes, so that what they cannot
// receive at the moment is kept for a while.
const Buffer = 4 << 20

// KindOf returns the kind of a datagram. One that is too short is dropped.
func KindOf(p []byte) Kind {
	if len(p) < MinSize {
		return Drop
	}
	return Kind(p[0])
}

// Put makes p a datagram with a number.
func Put(p []byte, kind Kind, n uint64) {
	p[0] = byte(kind)
	binary.BigEndian.PutUint64(p[1:], n)
}

// Number returns the number of a datagram, which is not too short.
func Number(p []byte) uint64 { return binary.BigEndian.Uint64(p[1:]) }
