package netpoll

// This file holds the tests of the memory debug mode.

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"unsafe"
	"weak"

	"github.com/stretchr/testify/require"
)

// debugMemory switches the mode on for the test, and returns the list that reports go to.
func debugMemory(t *testing.T) *[]error {
	var reports []error
	SetMemoryDebug(func(err error) { reports = append(reports, err) })
	t.Cleanup(func() { SetMemoryDebug(nil) })
	return &reports
}

// nextAndRelease returns a slice of 8 bytes from a new buffer that was released already.
func nextAndRelease(t *testing.T) []byte {
	b := new(LinkBuffer)
	_, _ = b.WriteString("abcdefgh")
	require.NoError(t, b.Flush())
	p, err := b.Next(8)
	require.NoError(t, err)
	require.NoError(t, b.Release())
	return p
}

func TestReleasedMemoryReadsAsPoison(t *testing.T) {
	debugMemory(t)
	require.Equal(t, bytes.Repeat([]byte{poison}, 8), nextAndRelease(t))
}

func TestWriteAfterReleaseIsReported(t *testing.T) {
	reports := debugMemory(t)
	p := nextAndRelease(t)
	p[3] = 'x'
	SetMemoryDebug(nil)
	require.Len(t, *reports, 1)
	var use *UseAfterReleaseError
	require.ErrorAs(t, (*reports)[0], &use)
	require.Equal(t, "written", use.Use)
	require.Equal(t, 3, use.Offset)
	require.Contains(t, use.Released, "nextAndRelease")
	require.Contains(t, use.Error(), "offset 3")
}

func TestWriteAfterReleaseIsReportedWhenItsTurnComes(t *testing.T) {
	reports := debugMemory(t)
	nextAndRelease(t)[0] = 'x'
	for i := 0; len(*reports) == 0; i++ {
		require.LessOrEqual(t, i, quarantineBlocks)
		nextAndRelease(t)
	}
}

func TestPassingReleasedMemoryToAWriterIsReportedAtOnce(t *testing.T) {
	for name, write := range map[string]func(b *LinkBuffer, p []byte){
		"WriteBinary": func(b *LinkBuffer, p []byte) { _, _ = b.WriteBinary(p) },
		"WriteString": func(b *LinkBuffer, p []byte) { _, _ = b.WriteString(unsafe.String(&p[0], len(p))) },
		"WriteDirect": func(b *LinkBuffer, p []byte) { _ = b.WriteDirect(p, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			reports := debugMemory(t)
			p := nextAndRelease(t)
			b := new(LinkBuffer)
			write(b, []byte("fine"))
			require.Empty(t, *reports)
			write(b, p[2:])
			require.Len(t, *reports, 1)
			var use *UseAfterReleaseError
			require.ErrorAs(t, (*reports)[0], &use)
			require.Equal(t, "passed to a Writer", use.Use)
			require.Equal(t, 2, use.Offset)
			require.NoError(t, b.Close())
		})
	}
}

func TestReleasingABlockTwiceIsReported(t *testing.T) {
	reports := debugMemory(t)
	blk := newBlock(100).blk
	blk.unref(1)
	require.Empty(t, *reports)
	blk.unref(1)
	require.Len(t, *reports, 1)
	require.ErrorContains(t, (*reports)[0], "twice")
}

func TestCorrectUseIsNotReported(t *testing.T) {
	reports := debugMemory(t)
	before := blocksOut.Load()
	for range 2 * quarantineBlocks {
		nextAndRelease(t)
	}
	large := new(LinkBuffer)
	_, _ = large.Malloc(quarantineBytes + 1)
	require.NoError(t, large.Close())
	require.Equal(t, before, blocksOut.Load())
	SetMemoryDebug(nil)
	require.Empty(t, *reports)
}

// TestMemoryDebugByEnvironment runs itself in a process with the variable set.
func TestMemoryDebugByEnvironment(t *testing.T) {
	if os.Getenv("NETPOLL_DEBUG") == "poison" {
		nextAndRelease(t)[0] = 'x'
		SetMemoryDebug(nil)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestMemoryDebugByEnvironment$")
	cmd.Env = append(os.Environ(), "NETPOLL_DEBUG=poison")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	require.True(t, errors.As(err, &exit), "the process should have panicked: %v", err)
	require.True(t, strings.Contains(string(out), "memory written after it was released"), "%s", out)
}

// An evicted block is released at once, not when the list happens to be moved.
func TestEvictedBlocksAreLetGo(t *testing.T) {
	debugMemory(t)
	first := newBlock(quarantineBytes * 2 / 3)
	memory := weak.Make(&first.buf[0])
	first.free()
	newBlock(quarantineBytes * 2 / 3).free()
	runtime.GC()
	require.Nil(t, memory.Value())
}
