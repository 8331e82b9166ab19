package netpoll

// This file holds which features of the system the library uses: whether it may use io_uring, whether it can, and the
// report of that.

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"github.com/cloudwego/netpoll/internal/uring"
)

// IOUringMode says whether pollers hand large batches of receives and sends to the kernel through io_uring. It changes
// their cost, not their results.
type IOUringMode int

const (
	// IOUringAuto uses io_uring where the system has it and allows it. It is the default.
	IOUringAuto IOUringMode = iota
	// IOUringOn is IOUringAuto, but [Configure] returns an error if io_uring cannot be used.
	IOUringOn
	// IOUringOff never uses it.
	IOUringOff
	// IOUringAlways uses it for the smallest batch too, where it costs more than plain system calls. It is for tests.
	IOUringAlways
)

// iouringVariable is the environment variable for operators. It overrides [Config].
const iouringVariable = "NETPOLL_IOURING"

// iouringNames are its values.
var iouringNames = map[string]IOUringMode{
	"auto": IOUringAuto, "on": IOUringOn, "off": IOUringOff, "always": IOUringAlways,
}

// ErrIOUringOff is why io_uring is not used where [Config] or the environment variable NETPOLL_IOURING says so.
var ErrIOUringOff = errors.New("netpoll: io_uring is switched off")

// FeatureReport is the result of [Features].
type FeatureReport struct {
	// IOUring: pollers hand large batches of receives and sends to the kernel through io_uring.
	IOUring bool
	// IOUringError is why they do not, nil if they do: [ErrIOUringOff], the kernel's error if it has no io_uring or
	// forbids it, or the error with which it stopped working later.
	IOUringError error
}

// Features tells which features of the system the library uses in this process, and why it does not use the others. The
// first call may try them out, which takes less than a millisecond. It may be called from any goroutine.
func Features() FeatureReport {
	err := defaultRingPolicy.refusal()
	return FeatureReport{IOUring: err == nil, IOUringError: err}
}

// defaultRingPolicy is that of the process.
var defaultRingPolicy = newRingPolicy(os.Getenv(iouringVariable), uring.ProbeOnce)

// ringPolicy says whether pollers may use a ring.
type ringPolicy struct {
	mode   atomic.Int32 // an IOUringMode; stored by set
	fixed  bool         // the mode is the operator's, and stays
	probe  func() error
	broken atomic.Pointer[error] // why a ring failed that had worked; stored once, by the poller that saw it
}

// newRingPolicy begins with the mode that the operator has set. A value that is not known is reported at once.
func newRingPolicy(operator string, probe func() error) *ringPolicy {
	u := &ringPolicy{probe: probe}
	if operator == "" {
		return u
	}
	mode, known := iouringNames[operator]
	if !known {
		logger().Printf("netpoll: %s is %q, not one of auto, on, off, always: ignored", iouringVariable, operator)
		return u
	}
	u.mode.Store(int32(mode))
	u.fixed = true
	return u
}

// possible returns an error if mode demands a ring and there can be none.
func (u *ringPolicy) possible(mode IOUringMode) error {
	switch {
	case mode != IOUringOn && mode != IOUringAlways:
		return nil
	case u.fixed && IOUringMode(u.mode.Load()) == IOUringOff:
		return fmt.Errorf("%w by %s", ErrIOUringOff, iouringVariable)
	}
	return u.unusable()
}

// unusable returns why a ring cannot work, or nil.
func (u *ringPolicy) unusable() error {
	if err := u.broken.Load(); err != nil {
		return *err
	}
	return u.probe()
}

// set sets the mode, unless the operator has.
func (u *ringPolicy) set(mode IOUringMode) {
	if !u.fixed {
		u.mode.Store(int32(mode))
	}
}

// refusal returns why no ring may be used, or nil.
func (u *ringPolicy) refusal() error {
	if u.broken.Load() == nil && IOUringMode(u.mode.Load()) == IOUringOff {
		return ErrIOUringOff
	}
	return u.unusable()
}
