//go:build !linux

package aio

// This file stands in for the ring where there is none, so that its users need no build tags of their own.

import (
	"errors"
	"fmt"
)

var errNoAIO = fmt.Errorf("aio exists on linux only: %w", errors.ErrUnsupported)

// A Ring cannot be made on this system.
type Ring struct{}

// New returns an error that is errors.ErrUnsupported.
func New(uint32) (*Ring, error) { return nil, errNoAIO }

// Recv returns false.
func (*Ring) Recv(int, []byte, uint64) bool { return false }

// Send returns false.
func (*Ring) Send(int, []byte, uint64) bool { return false }

// Submit returns an error that is errors.ErrUnsupported.
func (*Ring) Submit(func(tag uint64, res int32)) error { return errNoAIO }

// Cap returns 0.
func (*Ring) Cap() int { return 0 }

// Len returns 0.
func (*Ring) Len() int { return 0 }

// Close does nothing.
func (*Ring) Close() error { return nil }

// Probe returns an error that is errors.ErrUnsupported.
func Probe() error { return errNoAIO }

// ProbeOnce returns an error that is errors.ErrUnsupported.
func ProbeOnce() error { return errNoAIO }
