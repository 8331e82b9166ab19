//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package test

// A process without a free descriptor.

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// descriptorHog takes descriptors until the process has none left.
type descriptorHog struct{ files []*os.File }

// takeAll leaves the process without a free descriptor.
func (h *descriptorHog) takeAll(t *testing.T) {
	t.Helper()
	for {
		f, err := os.Open(os.DevNull)
		if err != nil {
			require.ErrorIs(t, err, unix.EMFILE)
			return
		}
		h.files = append(h.files, f)
	}
}

// free gives n descriptors back.
func (h *descriptorHog) free(n int) {
	for _, f := range h.files[:n] {
		f.Close()
	}
	h.files = h.files[n:]
}

// limitDescriptors limits the descriptors of this process, which must be a subprocess.
func limitDescriptors(t *testing.T, n uint64) *descriptorHog {
	t.Helper()
	var limit unix.Rlimit
	setNumber(&limit.Cur, n)
	setNumber(&limit.Max, n)
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
	return new(descriptorHog)
}

// setNumber sets a field whose type differs between systems.
func setNumber[T int64 | uint64](field *T, n uint64) { *field = T(n) }
