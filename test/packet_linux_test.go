//go:build linux && !netconn && !kqsim

package test

// batchesAllocateNothing: the system has calls that move a batch.
const batchesAllocateNothing = true
