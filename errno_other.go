//go:build !windows && !wasip1

package netpoll

// This file holds the errnos of all systems but Windows: each is its own name, and fits into the life word.

import "syscall"

// errnoShutdown is what sending gives after this side has ended it, where that is not EPIPE.
const errnoShutdown = syscall.ESHUTDOWN

// commonErrno returns the name that no has on every system.
func commonErrno(no syscall.Errno) syscall.Errno { return no }

func packErrno(no syscall.Errno) uint16 { return uint16(no) }

func unpackErrno(packed uint16) syscall.Errno { return syscall.Errno(packed) }
