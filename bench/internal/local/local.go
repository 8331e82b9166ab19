// Package local is the protocol of servers and clients on one machine, over shared memory and Unix sockets. It is about the
// transport: a message has its number at both ends, which the receiver checks, and nobody looks at what is between.
package local

import (
	"encoding/binary"
	"fmt"
)

const (
	// HeaderLen is the length of the header, in bytes: the size of the message, its kind, its number.
	HeaderLen = 16
	// MinSize is the size of the smallest message, in bytes: a header, and its number again.
	MinSize = HeaderLen + 8
	// MaxSize is the size of the largest message, in bytes.
	MaxSize = 16 << 20
)

// Kind is what the server does with a message.
type Kind uint32

// The kinds.
const (
	Echo  Kind = iota + 1 // it sends the message back
	Count                 // it counts the message, as stat.Counted
)

// Put makes p a message. What is between its ends stays as it is.
func Put(p []byte, kind Kind, number uint64) {
	binary.LittleEndian.PutUint32(p, uint32(len(p)))
	binary.LittleEndian.PutUint32(p[4:], uint32(kind))
	binary.LittleEndian.PutUint64(p[8:], number)
	binary.LittleEndian.PutUint64(p[len(p)-8:], number)
}

// Header reads a header.
func Header(p []byte) (size int, kind Kind, err error) {
	size, kind = int(binary.LittleEndian.Uint32(p)), Kind(binary.LittleEndian.Uint32(p[4:]))
	if size < MinSize || size > MaxSize || kind != Echo && kind != Count {
		return 0, 0, fmt.Errorf("a message of %d bytes, of the kind %d", size, kind)
	}
	return size, kind, nil
}

// Check returns an error unless p is a whole message with its number at both ends. It returns the number.
func Check(p []byte) (number uint64, err error) {
	size, _, err := Header(p)
	if err != nil {
		return 0, err
	}
	number = binary.LittleEndian.Uint64(p[8:])
	if last := binary.LittleEndian.Uint64(p[len(p)-8:]); size != len(p) || last != number {
		return 0, fmt.Errorf("%d bytes of a message of %d, which begins with the number %d and ends with %d",
			len(p), size, number, last)
	}
	return number, nil
}
