// Package echo is the service that Kitex is measured with: one method, whose argument and result are a string. Kitex
// carries them as the bytes of a Thrift struct (generic.BinaryThriftGenericV2), so that no generated code is needed, and
// what is measured is the framework and its transport.
package echo

import (
	"encoding/binary"
	"errors"
)

// The names of the service and of its method.
const (
	Service = "Echo"
	Method  = "Echo"
)

// The bytes around the string: the type, and the number of the field; the length; the end of the struct.
const (
	typeString = 11
	before     = 1 + 2 + 4
	after      = 1
)

// The fields that hold the string: those of the struct of arguments, and of the struct of results.
const (
	Argument = 1
	Result   = 0
)

// Size is how long the struct of a string of n bytes is.
func Size(n int) int { return before + n + after }

// Put makes p a struct with a string of len(p) - Size(0) bytes, and returns the memory of that.
func Put(p []byte, field uint16) []byte {
	n := len(p) - before - after
	p[0] = typeString
	binary.BigEndian.PutUint16(p[1:], field)
	binary.BigEndian.PutUint32(p[3:], uint32(n))
	p[before+n] = 0
	return p[before : before+n]
}

// Get returns the string of a struct.
func Get(p []byte) ([]byte, error) {
	if len(p) < before+after || p[0] != typeString || int(binary.BigEndian.Uint32(p[3:])) != len(p)-before-after {
		return nil, errors.New("not the struct of a string")
	}
	return p[before : len(p)-after], nil
}
