//go:build !netconn && !kqsim

package netpoll

// This file holds sending files by the kernel.

import (
	"io"
	"os"
	"reflect"
	"syscall"

	"github.com/cloudwego/netpoll/internal/sock"
)

// maxSendfile limits one system call, so that a deadline or Close need not wait for long.
const maxSendfile = 4 << 20

// regularFile returns r if it is a file of package os and not a type of a program, whose Read may do more. Package os
// hands out a type of its own that hides a method.
func regularFile(r io.Reader) syscall.Conn {
	switch r := r.(type) {
	case *os.File:
		return r
	case interface {
		syscall.Conn
		io.Seeker
	}:
		if t := reflect.TypeOf(r); t.Kind() == reflect.Struct && t.PkgPath() == "os" {
			return r
		}
	}
	return nil
}

// sendFile sends from the offset of file, limit bytes at most, and moves the offset. If done is false the rest, after n
// bytes, is to be copied.
func (c *connection) sendFile(file syscall.Conn, limit int64) (n int64, done bool, err error) {
	raw, err := file.SyscallConn()
	if err != nil {
		return 0, false, nil // Read returns the reason
	}
	rawErr := raw.Read(func(fd uintptr) bool {
		f := &fileMover{fd: int(fd), left: limit}
		if done = f.measure(); done {
			n, err = c.sendBy(f, "when write")
		}
		return true
	})
	if rawErr != nil || err == sock.ErrCannotSplice {
		return n, false, nil
	}
	return n, done, err
}

// fileMover moves bytes of a file.
type fileMover struct {
	fd    int
	left  int64 // how much may still be moved
	known int64 // bytes that were left when measure looked, less those moved
}

// measure returns false if the file is not a regular one.
func (f *fileMover) measure() (ok bool) {
	f.known, ok = sock.RestOfFile(f.fd)
	return ok
}

// move implements mover. It asks for no more than there is: with more to come, the kernel would hold back the last bytes
// for a while. A file that has grown is sent to its new end.
func (f *fileMover) move(fd int) (n int, done bool, err error) {
	size := int(min(f.left, maxSendfile))
	if f.known > 0 {
		size = int(min(int64(size), f.known))
	}
	n, err = sock.Sendfile(fd, f.fd, size)
	if err != nil {
		return 0, false, err
	}
	f.left -= int64(n)
	f.known -= int64(n)
	return n, n == 0 || f.left == 0, nil
}

// pausing implements mover.
func (f *fileMover) pausing() {}
