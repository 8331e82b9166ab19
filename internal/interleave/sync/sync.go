//go:build !interleave

// Package sync has the types of the standard library's package of that name that the library uses. They are the same
// types, except with the build tag interleave: then taking a lock and waiting are steps of the schedule that is
// explored; see package interleave.
package sync

import "sync"

type (
	Mutex = sync.Mutex
	Cond  = sync.Cond
	Pool  = sync.Pool
)

// Go is the go statement.
func Go(f func()) { go f() }
