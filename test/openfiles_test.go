//go:build linux

package test

// Which descriptors the process has open, and what for.

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/stretchr/testify/require"
)

// socketID identifies the open file behind a descriptor for as long as the file lives.
func socketID(fd int) (id uint64, err error) {
	var st syscall.Stat_t
	if err := syscall.Fstat(fd, &st); err != nil {
		return 0, fmt.Errorf("fstat %d: %w", fd, err)
	}
	return st.Ino, nil
}

// idOf is socketID of a connection that must be open.
func idOf(t testing.TB, c netpoll.Connection) uint64 {
	t.Helper()
	id, err := socketID(c.(netpoll.Conn).Fd())
	require.NoError(t, err)
	return id
}

// socketIsOpen reports whether this process has a descriptor of the socket.
func socketIsOpen(id uint64) bool {
	want := "socket:[" + strconv.FormatUint(id, 10) + "]"
	return slices.Contains(mapValues(openFiles()), want)
}

func mapValues(m map[int]string) (list []string) {
	for _, v := range m {
		list = append(list, v)
	}
	return list
}

// closeFd closes a descriptor that is the caller's own.
func closeFd(fd int) error { return os.NewSyscallError("close", syscall.Close(fd)) }

// openFiles returns what each descriptor of the process stands for.
func openFiles() map[int]string {
	files := make(map[int]string)
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		panic(err)
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			files[fd] = target
		}
	}
	return files
}

// countFiles returns how many descriptors stand for something that begins with prefix.
func countFiles(prefix string) (n int) {
	for _, target := range openFiles() {
		if strings.HasPrefix(target, prefix) {
			n++
		}
	}
	return n
}

// noLeak fails the test if, at its end, there are more sockets or goroutines than now.
func noLeak(t testing.TB) {
	t.Helper()
	sockets, goroutines := countFiles("socket:"), runtime.NumGoroutine()
	t.Cleanup(func() {
		testkit.Eventually(t, func() bool { return countFiles("socket:") <= sockets })
		// The pools keep some workers for a moment, so a few goroutines more are no leak; one for each of the many
		// connections of a test would be.
		testkit.Eventually(t, func() bool { return runtime.NumGoroutine() <= goroutines+20 })
	})
}
