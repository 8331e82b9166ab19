package testkit

// This file measures the memory of the process.

import "runtime"

// HeapInUse returns how many bytes of heap are reachable.
func HeapInUse() int64 {
	for range 3 { // the content of a sync.Pool survives one collection
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
