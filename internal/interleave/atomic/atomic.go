//go:build !interleave

// Package atomic has the types of the standard library's package of that name that the library uses. They are the same
// types, except with the build tag interleave: then each operation is a step of the schedule that is explored; see
// package interleave.
package atomic

import "sync/atomic"

type (
	Bool           = atomic.Bool
	Int32          = atomic.Int32
	Int64          = atomic.Int64
	Uint32         = atomic.Uint32
	Uint64         = atomic.Uint64
	Pointer[T any] = atomic.Pointer[T]
)
