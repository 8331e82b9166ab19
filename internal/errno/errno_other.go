//go:build !windows

package errno

// This file holds the errnos of all systems but Windows: each is its own name, and fits into 16 bits.

import "syscall"

// Common returns the name that no has on every system.
func Common(no syscall.Errno) syscall.Errno { return no }

// Pack makes an errno fit into 16 bits.
func Pack(no syscall.Errno) uint16 { return uint16(no) }

// Unpack undoes Pack.
func Unpack(packed uint16) syscall.Errno { return syscall.Errno(packed) }
