package shmring

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestRegionIsSharedAndOnlyItsOwnerWrites(t *testing.T) {
	own, fd, err := Create(MinRing)
	require.NoError(t, err)
	defer own.Free()
	defer unix.Close(fd)
	peer, err := Map(fd, MinRing)
	require.NoError(t, err)
	defer peer.Free()
	own.counter(offSent).Store(7)
	own.ring[MinRing-1] = 'x'
	require.EqualValues(t, 7, peer.counter(offSent).Load())
	require.EqualValues(t, 'x', peer.ring[MinRing-1])

	_, err = unix.Mmap(fd, 0, Header, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	require.Error(t, err, "another writable map")
	require.Error(t, unix.Mprotect(peer.mem, unix.PROT_READ|unix.PROT_WRITE))
	_, err = unix.Pwrite(fd, []byte("x"), 0)
	require.Error(t, err)
	require.Error(t, unix.Ftruncate(fd, 0))
	require.Error(t, unix.Ftruncate(fd, 1<<20))
	_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_WRITE)
	require.Error(t, err, "another seal")
}

func TestMapTakesNothingButSealedMemory(t *testing.T) {
	hole := false
	memfd := func(size int64, seals int) int {
		fd, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
		require.NoError(t, err)
		require.NoError(t, unix.Ftruncate(fd, size))
		if size > 0 && !hole {
			require.NoError(t, unix.Fallocate(fd, 0, 0, size))
		}
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals)
		require.NoError(t, err)
		return fd
	}
	file, err := unix.Open(filepath.Join(t.TempDir(), "file"), unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	require.NoError(t, err)
	require.NoError(t, unix.Ftruncate(file, Header+MinRing))
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	require.NoError(t, err)
	for name, fd := range map[string]int{
		"no seals":      memfd(Header+MinRing, 0),
		"may shrink":    memfd(Header+MinRing, needSeals&^unix.F_SEAL_SHRINK),
		"may grow":      memfd(Header+MinRing, needSeals&^unix.F_SEAL_GROW),
		"may get holes": memfd(Header+MinRing, needSeals&^unix.F_SEAL_FUTURE_WRITE),
		"too small":     memfd(Header+MinRing-1, allSeals),
		"empty":         memfd(0, allSeals),
		"too large":     memfd(Header+2*MinRing, allSeals),
		"a file":        file,
		"no file":       event,
		"no descriptor": -1,
	} {
		_, err := Map(fd, MinRing)
		require.ErrorIs(t, err, ErrRegion, name)
		_ = unix.Close(fd)
	}
	hole = true
	holes := memfd(Header+MinRing, needSeals)
	defer unix.Close(holes)
	_, err = Map(holes, MinRing)
	require.ErrorIs(t, err, ErrRegion, "memory with holes")
	hole = false
	good := memfd(Header+MinRing, needSeals)
	defer unix.Close(good)
	for _, ring := range []int{0, -1, MinRing - 1, MinRing + 1, MaxRing * 2} {
		_, err := Map(good, ring)
		require.ErrorIs(t, err, ErrRegion)
	}
	r, err := Map(good, MinRing)
	require.NoError(t, err)
	r.Free()
}
