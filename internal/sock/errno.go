//go:build !windows

package sock

// This file holds the errnos of all systems but Windows: each is its own name, and fits into 16 bits.

import "syscall"

// CommonErrno returns the name that no has on every system.
func CommonErrno(no syscall.Errno) syscall.Errno { return no }

// PackErrno makes an errno fit into 16 bits.
func PackErrno(no syscall.Errno) uint16 { return uint16(no) }

// UnpackErrno undoes PackErrno.
func UnpackErrno(packed uint16) syscall.Errno { return syscall.Errno(packed) }
