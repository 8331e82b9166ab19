//go:build faults && linux && !netconn && !kqsim

package test

// Copying by the kernel: that it is used, and what becomes of a copy when the kernel refuses.

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cloudwego/netpoll/internal/fault"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

// hookFaults makes h decide on system calls until the test ends.
func hookFaults(t *testing.T, h func(op fault.Op, size int) (limit int, errno syscall.Errno)) {
	fault.SetHook(h)
	t.Cleanup(func() { fault.SetHook(nil) })
}

// countCalls counts the calls of op until the test ends.
func countCalls(t *testing.T, op fault.Op) *atomic.Int64 {
	n := new(atomic.Int64)
	hookFaults(t, func(called fault.Op, size int) (int, syscall.Errno) {
		if called == op {
			n.Add(1)
		}
		return size, 0
	})
	return n
}

// Behaviour 9.8: ReadFrom and WriteTo are splice wherever package net's are, and for connections of this package.
func TestCopyIsSplice(t *testing.T) {
	for _, c := range [][2]string{
		{"netpoll tcp", "netpoll tcp"}, {"netpoll tcp6", "netpoll tcp"}, {"netpoll tcp", "netpoll unix"},
		{"netpoll unix", "netpoll tcp"}, {"netpoll tcp", "net tcp"}, {"netpoll tcp", "net unix"},
		{"net tcp", "netpoll tcp"}, {"net unix", "netpoll tcp"},
	} {
		t.Run("from "+c[0]+" to "+c[1], func(t *testing.T) {
			const size = 8 << 20
			src, dst := source(t, c[0], testkit.Pattern(size)), makeEnd(t, c[1])
			got := collect(dst.peer)
			splices := countCalls(t, fault.SpliceOut)
			_, err := io.Copy(dst.conn, src)
			require.NoError(t, err)
			require.Positive(t, splices.Load())
			require.NoError(t, dst.conn.(halfCloser).CloseWrite())
			require.True(t, bytes.Equal(testkit.Pattern(size), testkit.Receive(t, got)))
		})
	}
}

// Behaviour 9.8: a file is sent by sendfile, also by io.CopyN and by a server of net/http.
func TestSendingFilesIsSendfile(t *testing.T) {
	const size = 3 << 20
	dst := makeEnd(t, "netpoll tcp")
	got := collect(dst.peer)
	calls := countCalls(t, fault.Sendfile)
	for _, limit := range []int64{1 << 20, size - 1<<20} {
		before := calls.Load()
		file := tempFile(t, testkit.Pattern(size))
		_, err := file.Seek(size-limit, io.SeekStart)
		require.NoError(t, err)
		if limit == 1<<20 {
			_, err = io.Copy(dst.conn, file)
		} else {
			_, err = io.CopyN(dst.conn, file, limit)
		}
		require.NoError(t, err)
		require.Greater(t, calls.Load(), before)
	}
	require.NoError(t, dst.conn.(halfCloser).CloseWrite())
	all := testkit.Pattern(size)
	require.True(t, bytes.Equal(append(append([]byte(nil), all[size-1<<20:]...), all[1<<20:]...), testkit.Receive(t, got)))

	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), testkit.Pattern(size), 0o600))
	ln := testnet.Listen(t, "tcp")
	server := &http.Server{Handler: http.FileServer(http.Dir(dir))}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	before := calls.Load()
	resp, err := http.Get("http://" + ln.Addr().String() + "/file")
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.True(t, bytes.Equal(testkit.Pattern(size), body))
	require.Greater(t, calls.Load(), before)
	http.DefaultClient.CloseIdleConnections()
	require.NoError(t, server.Close())
	require.ErrorIs(t, testkit.Receive(t, served), http.ErrServerClosed)
}

// Behaviour 9.8: where the kernel cannot, from the beginning or later, the bytes are copied, and the user does not
// notice.
func TestCopyGoesOnWhereTheKernelCannot(t *testing.T) {
	for _, refused := range []struct {
		name  string
		op    fault.Op
		after int64
		errno syscall.Errno
	}{
		{"no pipe", fault.Pipe, 0, syscall.EMFILE},
		{"no splice from a socket", fault.SpliceIn, 0, syscall.EINVAL},
		{"no splice to a socket", fault.SpliceOut, 0, syscall.EINVAL},
		{"no splice to a socket any more", fault.SpliceOut, 3, syscall.ENOSYS},
		{"no splice from a socket any more", fault.SpliceIn, 3, syscall.EINVAL},
		{"no sendfile", fault.Sendfile, 0, syscall.EINVAL},
		{"no sendfile any more", fault.Sendfile, 1, syscall.ENOSYS},
		{"nothing to splice at first", fault.SpliceIn, -5, syscall.EAGAIN},
		{"little at a time from a socket", fault.SpliceIn, 0, 0},
		{"little at a time to a socket", fault.SpliceOut, 0, 0},
		{"little at a time from a file", fault.Sendfile, 0, 0},
		{"interrupted", fault.SpliceOut, -5, syscall.EINTR},
	} {
		t.Run(refused.name, func(t *testing.T) {
			for _, c := range [][2]string{
				{"netpoll tcp", "netpoll tcp"}, {"netpoll tcp", "net tcp"}, {"net tcp", "netpoll tcp"},
				{"netpoll unix", "netpoll tcp"}, {"netpoll tcp", "netpoll unix"}, {"file", "netpoll tcp"},
			} {
				if refused.errno == syscall.EAGAIN && c[0] == "net tcp" {
					continue // the Go runtime gets input reported once, and would wait for ever after a lie
				}
				var calls atomic.Int64
				hookFaults(t, func(op fault.Op, size int) (int, syscall.Errno) {
					if op != refused.op {
						return size, 0
					}
					n := calls.Add(1)
					switch {
					case refused.errno == 0:
						return 10_000, 0
					case refused.after >= 0 && n > refused.after, n <= -refused.after:
						return size, refused.errno
					}
					return size, 0
				})
				copyOnce(t, c[0], c[1], 8<<20, false)
				copyOnce(t, c[0], c[1], 8<<20, true)
			}
		})
	}
}

// Behaviour 2.3, 9.8: the kernel's error for a broken connection is the error of the copy, and of later calls.
func TestErrorOfSpliceIsThatOfTheConnection(t *testing.T) {
	for _, op := range []fault.Op{fault.SpliceIn, fault.SpliceOut, fault.Sendfile} {
		t.Run(op.String(), func(t *testing.T) {
			from := "netpoll tcp"
			if op == fault.Sendfile {
				from = "file"
			}
			src, dst := source(t, from, testkit.Pattern(8<<20)), makeEnd(t, "netpoll tcp")
			countInput(dst.peer)
			hookFaults(t, func(called fault.Op, size int) (int, syscall.Errno) {
				if called == op {
					return size, syscall.ECONNRESET
				}
				return size, 0
			})
			_, err := io.Copy(dst.conn, src)
			require.ErrorIs(t, err, syscall.ECONNRESET)
			fault.SetHook(nil)
			if op == fault.SpliceIn {
				_, err = src.Read(make([]byte, 1))
			} else {
				_, err = dst.conn.Write(make([]byte, 1))
			}
			require.ErrorIs(t, err, syscall.ECONNRESET)
		})
	}
}
