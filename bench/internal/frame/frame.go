// Package frame is the protocol of the benchmark: four bytes of length, big endian, and a payload. The server answers
// each request with a copy of its bytes, because a server of remote calls makes its responses in other memory, too.
//
// A payload begins and ends with the request's stamp, and has a fixed pattern between. So the receiver of a response
// can check every byte, and that the response came on the right connection in the right order.
package frame

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

const (
	// HeaderLen is the length of the header, in bytes.
	HeaderLen = 4
	// MinPayload is the smallest payload, in bytes: two stamps.
	MinPayload = 2 * stampLen
	// MaxPayload is the largest payload that a server accepts, in bytes.
	MaxPayload = 16 << 20

	stampLen = 8
)

// PayloadLen returns the length of the payload from its header, in bytes. header has HeaderLen bytes.
func PayloadLen(header []byte) int { return int(binary.BigEndian.Uint32(header)) }

// Whole returns how many bytes at the start of p are whole frames.
func Whole(p []byte) (n int) {
	for len(p)-n >= HeaderLen {
		end := n + HeaderLen + PayloadLen(p[n:])
		if end > len(p) {
			break
		}
		n = end
	}
	return n
}

// Messages makes requests of one size and checks the responses to them.
type Messages interface {
	// Len is the length of a request, in bytes.
	Len() int
	// Put writes the request with that stamp to dst, which has at least Len bytes.
	Put(dst []byte, stamp uint64)
	// Checker returns a checker for the stream of responses on one connection. Their stamps count up from first.
	Checker(first uint64) Checker
}

// Checker verifies the stream of responses of one connection, which may come in pieces of any size.
type Checker interface {
	// Feed checks the next bytes of the stream and returns how many responses they complete. After an error the
	// Checker must not be used again.
	Feed(p []byte) (done int, err error)
}

// Template makes messages of one size. It does not change after NewTemplate, so many goroutines may use it at once.
type Template struct {
	image []byte // a whole message; both stamps are zero
}

// NewTemplate returns a template for payloads of size bytes, at least MinPayload.
func NewTemplate(size int) (*Template, error) {
	if size < MinPayload || size > MaxPayload {
		return nil, fmt.Errorf("payload of %d bytes is not between %d and %d", size, MinPayload, MaxPayload)
	}
	image := make([]byte, HeaderLen+size)
	binary.BigEndian.PutUint32(image, uint32(size))
	for i := HeaderLen + stampLen; i < len(image)-stampLen; i++ {
		image[i] = byte(i*7 + i>>8)
	}
	return &Template{image: image}, nil
}

// Len returns the length of a message with its header, in bytes.
func (t *Template) Len() int { return len(t.image) }

// Put writes the message with that stamp to dst, which has at least Len bytes.
func (t *Template) Put(dst []byte, stamp uint64) {
	n := copy(dst, t.image)
	binary.BigEndian.PutUint64(dst[HeaderLen:], stamp)
	binary.BigEndian.PutUint64(dst[n-stampLen:n], ^stamp)
}

// Verify returns an error unless msg is the message with that stamp.
func (t *Template) Verify(msg []byte, stamp uint64) error {
	c := checker{t: t, next: stamp}
	done, err := c.Feed(msg)
	if err == nil && done != 1 {
		err = fmt.Errorf("message of %d bytes, want %d", len(msg), len(t.image))
	}
	return err
}

// Checker returns a checker of frames.
func (t *Template) Checker(first uint64) Checker { return &checker{t: t, next: first} }

// Stamp returns the stamp of a message. It checks nothing.
func Stamp(msg []byte) uint64 { return binary.BigEndian.Uint64(msg[HeaderLen:]) }

// checker checks frames.
type checker struct {
	t    *Template
	next uint64 // the stamp of the message that is being received
	off  int    // how many bytes of that message have come
}

func (c *checker) Feed(p []byte) (done int, err error) {
	var stamp [stampLen]byte
	for len(p) > 0 {
		want := c.expected(&stamp)
		n := min(len(want), len(p))
		if !bytes.Equal(p[:n], want[:n]) {
			return done, fmt.Errorf("message %#x differs from what was sent within bytes %d to %d", c.next, c.off, c.off+n)
		}
		p = p[n:]
		c.off += n
		if c.off == len(c.t.image) {
			c.off = 0
			c.next++
			done++
		}
	}
	return done, nil
}

// expected returns the bytes that must come next, up to the end of the current part of the message: the header, a stamp
// or the pattern.
func (c *checker) expected(stamp *[stampLen]byte) []byte {
	const body = HeaderLen + stampLen
	tail := len(c.t.image) - stampLen
	switch {
	case c.off < HeaderLen:
		return c.t.image[c.off:HeaderLen]
	case c.off < body:
		binary.BigEndian.PutUint64(stamp[:], c.next)
		return stamp[c.off-HeaderLen:]
	case c.off < tail:
		return c.t.image[c.off:tail]
	}
	binary.BigEndian.PutUint64(stamp[:], ^c.next)
	return stamp[c.off-tail:]
}
