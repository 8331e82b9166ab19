package sock

// This file holds the list of pieces that one call sends.

import "net"

// MaxVector is how many pieces one send takes. More pieces need another system call, which is cheap compared with
// copying so much.
const MaxVector = 64

// Vector is a list of byte slices to send, with room for the arguments of the system call.
type Vector struct {
	Bufs [MaxVector][]byte // the first N of them
	N    int
	sys  sysVector
}

// Clear empties v and forgets the memory it pointed to.
func (v *Vector) Clear() {
	clear(v.Bufs[:v.N])
	v.N = 0
}

// Limit cuts v down to n bytes.
func (v *Vector) Limit(n int) {
	for i, b := range v.Bufs[:v.N] {
		v.Bufs[i] = b[:min(n, len(b))]
		if n -= len(b); n <= 0 {
			clear(v.Bufs[i+1 : v.N])
			v.N = i + 1
			return
		}
	}
}

// Total is how many bytes there are in v.
func (v *Vector) Total() (n int) {
	for _, b := range v.Bufs[:v.N] {
		n += len(b)
	}
	return n
}

// Buffers returns v in the form of package net, valid until v changes. The caller may consume the list. It allocates
// nothing.
func (v *Vector) Buffers() *net.Buffers {
	v.sys.list = v.Bufs[:v.N]
	return &v.sys.list
}
