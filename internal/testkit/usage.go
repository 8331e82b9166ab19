//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package testkit

// This file measures the processor time of the process.

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// ProcessorTime returns how much processor time the process has used.
func ProcessorTime() time.Duration {
	var ru syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil {
		panic(err)
	}
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}

// ProcessorTimeDuring returns how much processor time the process used while d passed.
func ProcessorTimeDuring(d time.Duration) time.Duration {
	before := ProcessorTime()
	<-time.After(d)
	return ProcessorTime() - before
}

// Idles fails the test if the process uses a processor while it has nothing to do.
func Idles(t testing.TB) {
	t.Helper()
	const window = 300 * time.Millisecond
	used := ProcessorTimeDuring(window)
	require.Less(t, used, window/2, "processor time used in %v with nothing to do", window)
}
