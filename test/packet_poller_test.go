//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package test

import (
	"errors"
	"syscall"
)

// hasBatches: one call receives many datagrams.
const hasBatches = true

func isRefused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }
