package sock

// This file holds sending files by the kernel.

import (
	"io"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/fault"
	"github.com/cloudwego/netpoll/internal/happens"
)

// RestOfFile is how many bytes a file has from its offset on. ok is false if it is no regular file.
func RestOfFile(fd int) (n int64, ok bool) {
	var stat unix.Stat_t
	if unix.Fstat(fd, &stat) != nil || stat.Mode&unix.S_IFMT != unix.S_IFREG {
		return 0, false
	}
	at, err := unix.Seek(fd, 0, io.SeekCurrent)
	return max(0, stat.Size-at), err == nil
}

// Sendfile sends up to size bytes from the offset of file to the socket fd, and moves the offset. 0 and no error: the
// end of the file. The error may be ErrCannotSplice.
func Sendfile(fd, file, size int) (n int, err error) {
	if waits(fd) {
		return 0, ErrCannotSplice
	}
	happens.BeforeSend()
	for {
		part, errno := fault.Transfer(fault.Sendfile, fd, size)
		if err = errno; errno == 0 {
			n, err = unix.Sendfile(fd, file, nil, part)
		}
		if err != syscall.EINTR {
			return moveResult(n, err, "sendfile")
		}
	}
}
