package shmring

// This file holds the memory of regions: files without a name, sealed, so that their size cannot change and nobody but the
// side that has made one can write to it.

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// The seals. Without the first two the memory could be taken away under the reader, who would get a SIGBUS; without the
// third it could get holes, which the reader would have to fill.
const (
	needSeals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_FUTURE_WRITE
	allSeals  = needSeals | unix.F_SEAL_SEAL
)

// mapFlags map all pages at once: the memory is there, and a fault for each page would cost more.
const mapFlags = unix.MAP_SHARED | unix.MAP_POPULATE

// ErrRegion says that a descriptor is not that of a region with the size that was agreed on.
var ErrRegion = errors.New("shared memory: the descriptor is not that of sealed memory of the right size")

// Create makes a region with a ring of that size. The descriptor is for the other side; the caller closes it then.
func Create(ring int) (r *Region, fd int, err error) {
	fd, err = unix.MemfdCreate("netpoll", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) { // older than Linux 6.3
		fd, err = unix.MemfdCreate("netpoll", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, -1, os.NewSyscallError("memfd_create", err)
	}
	r, err = createIn(fd, Header+ring)
	if err != nil {
		_ = unix.Close(fd)
		return nil, -1, err
	}
	return r, fd, nil
}

func createIn(fd, size int) (*Region, error) {
	if err := unix.Ftruncate(fd, int64(size)); err != nil {
		return nil, os.NewSyscallError("ftruncate", err)
	}
	if err := unix.Fallocate(fd, 0, 0, int64(size)); err != nil { // now, and not by a fault, which cannot fail
		return nil, os.NewSyscallError("fallocate", err)
	}
	mem, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, mapFlags)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, allSeals); err != nil {
		_ = unix.Munmap(mem)
		return nil, os.NewSyscallError("fcntl", err)
	}
	return NewRegion(mem), nil
}

// Map maps the region of the other side, with a ring of that size, read-only. It takes nothing but sealed memory of the
// right size, without holes: reading it needs no more memory, and can never fail. The caller closes fd.
func Map(fd, ring int) (*Region, error) {
	if !ValidRing(ring) {
		return nil, ErrRegion
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil || int64(fs.Type) != unix.TMPFS_MAGIC { // huge pages may run out later
		return nil, ErrRegion
	}
	seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	if err != nil || seals&needSeals != needSeals {
		return nil, ErrRegion
	}
	var st unix.Stat_t // after the seals: size and content cannot go any more
	if err := unix.Fstat(fd, &st); err != nil || st.Size != int64(Header+ring) || st.Blocks*512 < st.Size {
		return nil, ErrRegion
	}
	mem, err := unix.Mmap(fd, 0, Header+ring, unix.PROT_READ, mapFlags)
	if err != nil {
		return nil, fmt.Errorf("map the peer's memory: %w", os.NewSyscallError("mmap", err))
	}
	return NewRegion(mem), nil
}

// Free unmaps the region, which nobody may use any more. The memory is gone when both sides have done so.
func (r *Region) Free() { _ = unix.Munmap(r.mem) }
