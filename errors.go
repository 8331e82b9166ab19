package netpoll

// This file holds every error the package returns by name: the table of codes that programs match, the texts,
// and the one wrapper that carries a code or an errno together with what was being done. Nothing else in the
// package compares error texts.

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"github.com/cloudwego/netpoll/internal/errno"
	"github.com/cloudwego/netpoll/internal/sock"
)

// The codes of this package. They are errnos outside every system's own range, so that they can be compared with
// == after unwrapping and matched with [errors.Is]. Errors returned by this package also answer to the standard
// names; see [Exception].
const (
	// ErrConnClosed: the connection was used after it was closed, by either side. Is net.ErrClosed when it was
	// closed on this side.
	ErrConnClosed = syscall.Errno(0x101)
	// ErrReadTimeout: the read timeout or deadline passed before enough data arrived. Is os.ErrDeadlineExceeded.
	ErrReadTimeout = syscall.Errno(0x102)
	// ErrDialTimeout: the dial did not complete in time. Is os.ErrDeadlineExceeded.
	ErrDialTimeout = syscall.Errno(0x103)
	// ErrDialNoDeadline is not returned by this package, which dials without a deadline; it is kept for programs
	// that match it.
	ErrDialNoDeadline = syscall.Errno(0x104)
	// ErrUnsupported: the operation does not exist for this kind of connection or on this system. Is
	// errors.ErrUnsupported.
	ErrUnsupported = syscall.Errno(0x105)
	// ErrEOF: the peer ended the stream. Is ErrConnClosed, and not io.EOF: Read returns io.EOF, and programs
	// distinguish the two.
	ErrEOF = syscall.Errno(0x106)
	// ErrWriteTimeout: the write timeout or deadline passed before the kernel took everything. Is
	// os.ErrDeadlineExceeded.
	ErrWriteTimeout = syscall.Errno(0x107)
	// ErrConcurrentAccess: a second goroutine used a Reader or Writer that only one may use at a time.
	ErrConcurrentAccess = syscall.Errno(0x108)
)

// ErrBufferedInput: a function of RawConn.Read was not called because the connection has unread input in its buffer,
// which the function would not see.
var ErrBufferedInput = errors.New("connection has unread input in its buffer")

// The errors of a [LinkBuffer] by itself, which never waits.
var (
	// ErrNotEnoughData: a [LinkBuffer] holds fewer bytes than were asked for, or the delimiter is not among them.
	ErrNotEnoughData = errors.New("link buffer: not enough data")
	// ErrBufferMisuse: the arguments of a [LinkBuffer] method contradict what was written so far. Nothing was changed.
	ErrBufferMisuse = errors.New("link buffer: misuse")
)

// Why this side has ended a connection by itself. The errors of later calls, and [context.Cause] of its Context, are
// ErrConnClosed and one of these; after the program has closed or detached the connection, they are none of them.
var (
	// ErrIdleLimit: no byte has moved within the idle limit; see [WithIdleLimit].
	ErrIdleLimit = errors.New("no traffic within the idle limit")
	// ErrShutdown: the connection was idle, or has become idle, after Shutdown of its [EventLoop] began.
	ErrShutdown = errors.New("its server was shut down")
	// ErrPanic: one of the connection's callbacks has panicked, or has ended its goroutine by [runtime.Goexit].
	ErrPanic = errors.New("a callback has panicked")
	// ErrPollerFailed: the system could not watch the connection, or not any more.
	ErrPollerFailed = errors.New("its poller has failed")
)

// codeTexts holds the text of each code; programs match on some of them.
var codeTexts = map[syscall.Errno]string{
	ErrConnClosed:       "connection has been closed",
	ErrReadTimeout:      "connection read timeout",
	ErrDialTimeout:      "dial wait timeout",
	ErrDialNoDeadline:   "dial no deadline",
	ErrUnsupported:      "netpoll does not support",
	ErrEOF:              "EOF",
	ErrWriteTimeout:     "connection write timeout",
	ErrConcurrentAccess: "concurrent connection access",
}

// Exception wraps err with what was being done: its text is the text of err, a space and suffix. The whole chain of
// err stays visible to [errors.Is] and [errors.As], and a code of this package also answers to its standard name:
//
//	ErrEOF           ErrConnClosed
//	ErrConnClosed    net.ErrClosed
//	Err…Timeout      os.ErrDeadlineExceeded; Timeout() is true
//	ErrUnsupported   errors.ErrUnsupported
//	ECONNRESET, …    ErrConnClosed, for every errno that ends a connection
//
// A nil err gives nil.
func Exception(err error, suffix string) error {
	if err == nil {
		return nil
	}
	if no, ok := err.(syscall.Errno); ok {
		return &exception{no: no, suffix: suffix}
	}
	if suffix == "" {
		return err
	}
	return fmt.Errorf("%w %s", err, suffix)
}

var _ net.Error = (*exception)(nil)

// exception is a code of this package, or an errno of the system, with what was being done.
type exception struct {
	no     syscall.Errno
	suffix string
	reason error // why, if more is known; nil if not
}

// Error returns the text of the code, a space and the suffix, and the reason if there is one.
func (e *exception) Error() string {
	s, ok := codeTexts[e.no]
	if !ok {
		s = e.no.Error()
	}
	if e.suffix != "" {
		s += " " + e.suffix
	}
	if e.reason != nil {
		s += ": " + e.reason.Error()
	}
	return s
}

// Unwrap returns the bare code.
func (e *exception) Unwrap() error { return e.no }

// Is reports whether the code also goes by the name target.
func (e *exception) Is(target error) bool {
	if e.no == target || e.reason != nil && errors.Is(e.reason, target) {
		return true
	}
	switch e.no {
	case ErrEOF:
		return target == ErrConnClosed
	case ErrConnClosed:
		return target == net.ErrClosed
	case ErrReadTimeout, ErrWriteTimeout, ErrDialTimeout:
		return target == os.ErrDeadlineExceeded
	case ErrUnsupported:
		return target == errors.ErrUnsupported
	}
	return target == ErrConnClosed && errno.EndsConnection(e.no)
}

// Timeout implements [net.Error].
func (e *exception) Timeout() bool {
	switch e.no {
	case ErrReadTimeout, ErrWriteTimeout, ErrDialTimeout:
		return true
	}
	return e.no.Timeout()
}

// Temporary implements [net.Error].
//
// Deprecated: as in package net, "temporary" is not well defined.
func (e *exception) Temporary() bool {
	return e.Timeout() || e.no.Temporary()
}

// asErrno finds the errno in err; 0 if there is none.
func asErrno(err error) syscall.Errno {
	var no syscall.Errno
	if errors.As(err, &no) {
		return errno.Common(no)
	}
	return 0
}

// asUnsupported gives an error of package sock for a missing feature the code ErrUnsupported.
func asUnsupported(err error) error {
	var what sock.Unsupported
	if errors.As(err, &what) {
		return Exception(ErrUnsupported, string(what))
	}
	return err
}
