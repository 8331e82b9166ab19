//go:build !faults

package netpoll

// This file holds the seam for faults as it is shipped: nothing. Each function is inlined away. What takes its place in
// tests of failing system calls is in fault_inject.go.

import "syscall"

// fault returns the error with which the next call of op is to fail, or 0.
func fault(sysOp) syscall.Errno { return 0 }
