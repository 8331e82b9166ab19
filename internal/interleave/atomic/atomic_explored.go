//go:build interleave

// Package atomic has the types of the standard library's package of that name that the library uses, with a step of the
// schedule that is explored before each operation; see package interleave.
package atomic

import (
	"sync/atomic"

	"github.com/cloudwego/netpoll/internal/interleave"
)

// Bool is [atomic.Bool].
type Bool struct{ v atomic.Bool }

func (a *Bool) Load() bool {
	interleave.Step("Load", a)
	return a.v.Load()
}

func (a *Bool) Store(new bool) {
	interleave.Step("Store", a)
	a.v.Store(new)
}

func (a *Bool) Swap(new bool) (old bool) {
	interleave.Step("Swap", a)
	return a.v.Swap(new)
}

func (a *Bool) CompareAndSwap(old, new bool) (swapped bool) {
	interleave.Step("CompareAndSwap", a)
	return a.v.CompareAndSwap(old, new)
}

// Int32 is [atomic.Int32].
type Int32 struct{ v atomic.Int32 }

func (a *Int32) Load() int32 {
	interleave.Step("Load", a)
	return a.v.Load()
}

func (a *Int32) Store(new int32) {
	interleave.Step("Store", a)
	a.v.Store(new)
}

func (a *Int32) Swap(new int32) (old int32) {
	interleave.Step("Swap", a)
	return a.v.Swap(new)
}

func (a *Int32) CompareAndSwap(old, new int32) (swapped bool) {
	interleave.Step("CompareAndSwap", a)
	return a.v.CompareAndSwap(old, new)
}

func (a *Int32) Add(delta int32) (new int32) {
	interleave.Step("Add", a)
	return a.v.Add(delta)
}

// Int64 is [atomic.Int64].
type Int64 struct{ v atomic.Int64 }

func (a *Int64) Load() int64 {
	interleave.Step("Load", a)
	return a.v.Load()
}

func (a *Int64) Store(new int64) {
	interleave.Step("Store", a)
	a.v.Store(new)
}

func (a *Int64) Swap(new int64) (old int64) {
	interleave.Step("Swap", a)
	return a.v.Swap(new)
}

func (a *Int64) CompareAndSwap(old, new int64) (swapped bool) {
	interleave.Step("CompareAndSwap", a)
	return a.v.CompareAndSwap(old, new)
}

func (a *Int64) Add(delta int64) (new int64) {
	interleave.Step("Add", a)
	return a.v.Add(delta)
}

// Uint32 is [atomic.Uint32].
type Uint32 struct{ v atomic.Uint32 }

func (a *Uint32) Load() uint32 {
	interleave.Step("Load", a)
	return a.v.Load()
}

func (a *Uint32) Store(new uint32) {
	interleave.Step("Store", a)
	a.v.Store(new)
}

func (a *Uint32) Swap(new uint32) (old uint32) {
	interleave.Step("Swap", a)
	return a.v.Swap(new)
}

func (a *Uint32) CompareAndSwap(old, new uint32) (swapped bool) {
	interleave.Step("CompareAndSwap", a)
	return a.v.CompareAndSwap(old, new)
}

func (a *Uint32) Add(delta uint32) (new uint32) {
	interleave.Step("Add", a)
	return a.v.Add(delta)
}

// Uint64 is [atomic.Uint64].
type Uint64 struct{ v atomic.Uint64 }

func (a *Uint64) Load() uint64 {
	interleave.Step("Load", a)
	return a.v.Load()
}

func (a *Uint64) Store(new uint64) {
	interleave.Step("Store", a)
	a.v.Store(new)
}

func (a *Uint64) Swap(new uint64) (old uint64) {
	interleave.Step("Swap", a)
	return a.v.Swap(new)
}

func (a *Uint64) CompareAndSwap(old, new uint64) (swapped bool) {
	interleave.Step("CompareAndSwap", a)
	return a.v.CompareAndSwap(old, new)
}

func (a *Uint64) Add(delta uint64) (new uint64) {
	interleave.Step("Add", a)
	return a.v.Add(delta)
}

// Pointer is [atomic.Pointer].
type Pointer[T any] struct{ v atomic.Pointer[T] }

func (a *Pointer[T]) Load() *T {
	interleave.Step("Load", a)
	return a.v.Load()
}

func (a *Pointer[T]) Store(new *T) {
	interleave.Step("Store", a)
	a.v.Store(new)
}

func (a *Pointer[T]) Swap(new *T) (old *T) {
	interleave.Step("Swap", a)
	return a.v.Swap(new)
}

func (a *Pointer[T]) CompareAndSwap(old, new *T) (swapped bool) {
	interleave.Step("CompareAndSwap", a)
	return a.v.CompareAndSwap(old, new)
}
