package netpoll

// This file holds the features of the system that the library uses: which executors of batches of receives and sends
// are allowed, which work, and the report on them.

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"github.com/cloudwego/netpoll/internal/aio"
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

// AIOMode says whether pollers hand large batches of receives and sends to the kernel through Linux AIO where they do not
// use io_uring, as in containers, whose default profiles refuse that and allow AIO. It changes their cost, not their
// results.
type AIOMode int

const (
	// AIOAuto uses AIO where io_uring cannot be used or is switched off, and the system has AIO and allows it. It is the
	// default.
	AIOAuto AIOMode = iota
	// AIOOn is AIOAuto, but [Configure] returns an error if AIO cannot be used.
	AIOOn
	// AIOOff never uses it.
	AIOOff
	// AIOAlways uses it in place of io_uring, and for the smallest batch too, where it costs more than plain system calls.
	// It is for tests.
	AIOAlways
)

// executorMode is an IOUringMode or an AIOMode, which have the same values.
type executorMode int32

const (
	executorAuto   = executorMode(IOUringAuto)
	executorOn     = executorMode(IOUringOn)
	executorOff    = executorMode(IOUringOff)
	executorAlways = executorMode(IOUringAlways)
)

// executorModes are the values of the environment variables.
var executorModes = map[string]executorMode{
	"auto": executorAuto, "on": executorOn, "off": executorOff, "always": executorAlways,
}

var (
	// ErrIOUringOff is why io_uring is not used where [Config] or the environment variable NETPOLL_IOURING says so.
	ErrIOUringOff = errors.New("netpoll: io_uring is switched off")
	// ErrAIOOff is why AIO is not used where [Config] or the environment variable NETPOLL_AIO says so.
	ErrAIOOff = errors.New("netpoll: linux aio is switched off")
)

// Why an executor is not used that could be.
var (
	errIOUringInstead = errors.New("netpoll: linux aio is not needed: io_uring is used")
	errAIOInstead     = errors.New("netpoll: io_uring is not used: linux aio is, always")
)

// FeatureReport is the result of [Features].
type FeatureReport struct {
	// IOUring: pollers hand large batches of receives and sends to the kernel through io_uring.
	IOUring bool
	// IOUringError is why they do not, nil if they do: [ErrIOUringOff], the kernel's error if it has no io_uring or
	// forbids it, or the error with which it stopped working later.
	IOUringError error
	// AIO: pollers hand large batches of receives and sends to the kernel through Linux AIO.
	AIO bool
	// AIOError is why they do not, nil if they do: [ErrAIOOff], an error that says that they use io_uring, the kernel's
	// error if it has no AIO or forbids it, or the error with which AIO, or io_uring before it, stopped working later.
	AIOError error
	// GSO: WriteBatch hands several datagrams for one peer to the kernel as one; see [WithPacketGSO].
	GSO bool
	// GSOError is why it does not, nil if it does: [ErrGSOOff], the kernel's error if it has no GSO, an error that says that
	// the kernel's is known to be broken, or one that Is [ErrUnsupported].
	GSOError error
	// GRO: a [PacketLoop], and sockets with [WithPacketGRO], let the kernel join datagrams of one peer.
	GRO bool
	// GROError is why they do not, nil if they do: [ErrGROOff], the kernel's error, or one that Is [ErrUnsupported].
	GROError error
	// SharedMemory: connections over "shm" share memory; see [ShmConfig].
	SharedMemory bool
	// SharedMemoryError is why they cannot, nil if they can: the error of the system that gives no sealed memory, or one that
	// Is [ErrUnsupported]. With Fallback they use the socket then.
	SharedMemoryError error
}

// Features tells which features of the system the library uses in this process, and why it does not use the others. The
// first call may try them out, which takes a few milliseconds at most. It may be called from any goroutine.
func Features() FeatureReport {
	ring, aio := defaultExecutors.refusals()
	gso, gro := defaultGSO.refusal(), defaultGRO.refusal()
	shm := shmProbe()
	return FeatureReport{SharedMemory: shm == nil, SharedMemoryError: shm,
		IOUring: ring == nil, IOUringError: ring, AIO: aio == nil, AIOError: aio,
		GSO: gso == nil, GSOError: gso, GRO: gro == nil, GROError: gro}
}

// defaultExecutors are the executors of the process.
var defaultExecutors = &executors{
	ring: newExecutorPolicy(ioUring, os.Getenv(ioUring.variable), uring.ProbeOnce),
	aio:  newExecutorPolicy(linuxAIO, os.Getenv(linuxAIO.variable), aio.ProbeOnce),
}

// executors are the two that may execute batches. One is used at most.
type executors struct{ ring, aio *executorPolicy }

// inCharge returns the executor that is used if any is: its own policy may still refuse it. AIO does not take over from
// an io_uring that has failed: both may have the same fault.
func (e *executors) inCharge() *executorPolicy {
	switch {
	case e.aio.has(executorAlways) && e.aio.probe() == nil:
		return e.aio
	case !e.ring.has(executorOff) && e.ring.probe() == nil:
		return e.ring
	}
	return e.aio
}

// refusals returns why each is not used, nil for the one that is. An executor that is not needed is not tried out.
func (e *executors) refusals() (ring, aio error) {
	if e.inCharge() == e.aio {
		aio, ring = e.aio.refusal(), e.ring.refusal()
		return instead(ring, aio, errAIOInstead), aio
	}
	ring = e.ring.refusal()
	if e.aio.has(executorOff) {
		return ring, ErrAIOOff
	}
	return ring, instead(nil, ring, errIOUringInstead)
}

// instead returns why an executor is not used where the other is in charge: its own error, or that of the other, or
// works if the other works.
func instead(own, other, works error) error {
	switch {
	case own != nil:
		return own
	case other != nil:
		return other
	}
	return works
}

// executorKind is a kind of executor.
type executorKind struct {
	name     string
	variable string // the environment variable for operators, which overrides [Config]
	off      error
	index    int // in the figures
}

var (
	ioUring  = &executorKind{"io_uring", "NETPOLL_IOURING", ErrIOUringOff, 0}
	linuxAIO = &executorKind{"linux aio", "NETPOLL_AIO", ErrAIOOff, 1}
)

// executorPolicy says whether pollers may use an executor.
type executorPolicy struct {
	kind   *executorKind
	mode   atomic.Int32 // an executorMode; stored by set
	fixed  bool         // the mode is the operator's, and stays
	probe  func() error
	broken atomic.Pointer[error] // why it failed after it had worked; stored once, by the worker that saw it
	//lint:ignore U1000 there are systems without workers
	made atomic.Bool // one has been made
	//lint:ignore U1000 the same
	lacking atomic.Bool // it was logged that there was no room for one more
}

// newExecutorPolicy begins with the mode that an operator has set. It logs an unknown value.
func newExecutorPolicy(kind *executorKind, operator string, probe func() error) *executorPolicy {
	u := &executorPolicy{kind: kind, probe: probe}
	if operator == "" {
		return u
	}
	mode, known := executorModes[operator]
	if !known {
		logger().Printf("netpoll: %s is %q, not one of auto, on, off, always: ignored", kind.variable, operator)
		return u
	}
	u.mode.Store(int32(mode))
	u.fixed = true
	return u
}

// has reports whether that is the mode.
func (u *executorPolicy) has(mode executorMode) bool { return executorMode(u.mode.Load()) == mode }

// possible returns why a mode that demands the executor cannot be had.
func (u *executorPolicy) possible(mode executorMode) error {
	switch {
	case mode != executorOn && mode != executorAlways:
		return nil
	case u.fixed && u.has(executorOff):
		return fmt.Errorf("%w by %s", u.kind.off, u.kind.variable)
	}
	return u.unusable()
}

// unusable returns why the executor cannot work, or nil.
func (u *executorPolicy) unusable() error {
	if err := u.broken.Load(); err != nil {
		return *err
	}
	return u.probe()
}

// set sets the mode, unless the operator has.
func (u *executorPolicy) set(mode executorMode) {
	if !u.fixed {
		u.mode.Store(int32(mode))
	}
}

// refusal returns why the executor may not be used, or nil.
func (u *executorPolicy) refusal() error {
	if u.broken.Load() == nil && u.has(executorOff) {
		return u.kind.off
	}
	return u.unusable()
}
