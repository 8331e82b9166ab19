//go:build linux && !netconn

package test

// The library in a process whose operator, or whose container, decides about io_uring. These tests need a process of
// their own: the decision is made once.

import (
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/cloudwego/netpoll/internal/uring"
)

// requireBatchesServed proves that a server works: with many clients at once, so that a ring would be used.
func requireBatchesServed(t *testing.T) {
	t.Helper()
	s := testnet.NewServer(t, "tcp", testnet.Echo)
	const clients = 16
	results := make(chan error, clients)
	for i := range clients {
		c := s.Dial()
		go func() {
			var err error
			for round := 0; round < 20 && err == nil; round++ {
				err = testkit.RoundTrip(c, fmt.Sprintf("client %d, round %d", i, round))
			}
			results <- err
		}()
	}
	for range clients {
		require.NoError(t, testkit.Receive(t, results))
	}
}

func TestOperatorDecidesAboutTheRing(t *testing.T) {
	possible := uring.ProbeOnce()
	for _, tc := range []struct {
		value string
		want  error
		says  string
	}{
		{"auto", possible, ""}, {"on", possible, ""}, {"always", possible, ""}, {"", possible, ""},
		{"off", netpoll.ErrIOUringOff, ""},
		{"nonsense", possible, `NETPOLL_IOURING is "nonsense", not one of auto, on, off, always: ignored`},
	} {
		t.Run("value "+tc.value, func(t *testing.T) {
			there, output := testkit.OutputOfOwnProcess(t, "NETPOLL_IOURING="+tc.value)
			if !there {
				require.Contains(t, output, tc.says)
				return
			}
			report := netpoll.Features()
			require.Equal(t, tc.want == nil, report.IOUring)
			if tc.want == nil {
				require.NoError(t, report.IOUringError)
			} else {
				require.EqualError(t, report.IOUringError, tc.want.Error())
			}
			require.NoError(t, netpoll.Configure(netpoll.Config{IOUring: netpoll.IOUringOff}))
			if tc.value != "" && tc.says == "" {
				require.Equal(t, report, netpoll.Features(), "the program cannot overrule the operator")
			}
			requireBatchesServed(t)
		})
	}
}

// audits are the names of the architectures for the kernel's filters.
var audits = map[string]uint32{
	"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64, "386": unix.AUDIT_ARCH_I386,
	"arm": unix.AUDIT_ARCH_ARM, "riscv64": unix.AUDIT_ARCH_RISCV64, "ppc64le": unix.AUDIT_ARCH_PPC64LE,
	"s390x": unix.AUDIT_ARCH_S390X, "loong64": unix.AUDIT_ARCH_LOONGARCH64,
}

// forbidRings makes io_uring_setup fail with errno in this process for good, as the filter of a container does.
func forbidRings(t *testing.T, errno syscall.Errno) {
	t.Helper()
	audit, known := audits[runtime.GOARCH]
	require.True(t, known, "the filter does not know %s", runtime.GOARCH)
	const (
		load  = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		equal = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		ret   = unix.BPF_RET | unix.BPF_K

		allow = 0x7fff0000 // SECCOMP_RET_ALLOW
		fail  = 0x00050000 // SECCOMP_RET_ERRNO

		callAt, archAt = 0, 4 // in struct seccomp_data
	)
	filter := []unix.SockFilter{
		{Code: load, K: archAt},
		{Code: equal, Jf: 3, K: audit},
		{Code: load, K: callAt},
		{Code: equal, Jf: 1, K: unix.SYS_IO_URING_SETUP},
		{Code: ret, K: fail | uint32(errno)},
		{Code: ret, K: allow},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	const setModeFilter, allThreads = 1, 1 // SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC
	runtime.LockOSThread()                 // both calls must be of one thread; the second one is for all
	defer runtime.UnlockOSThread()
	require.NoError(t, unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
	r, _, no := unix.Syscall(unix.SYS_SECCOMP, setModeFilter, allThreads, uintptr(unsafe.Pointer(&program)))
	runtime.KeepAlive(filter)
	require.Zero(t, no, "seccomp: %v", no)
	require.Zero(t, r, "a thread could not be filtered")
	_, _, no = unix.Syscall(unix.SYS_IO_URING_SETUP, 4, 0, 0)
	require.Equal(t, errno, no, "the filter does not work")
}

// A container whose filter forbids io_uring, or a kernel that has none, is served by plain system calls, and says so.
func TestProcessWithoutRingsServesAllTheSame(t *testing.T) {
	for _, errno := range []syscall.Errno{unix.EPERM, unix.ENOSYS} {
		for _, mode := range []string{"auto", "always"} {
			t.Run(fmt.Sprintf("%s %s", unix.ErrnoName(errno), mode), func(t *testing.T) {
				if there, _ := testkit.OutputOfOwnProcess(t, "NETPOLL_IOURING="+mode); !there {
					return
				}
				forbidRings(t, errno)
				log := testkit.CaptureLog(t, netpoll.SetLoggerOutput)
				requireBatchesServed(t)
				report := netpoll.Features()
				require.False(t, report.IOUring)
				require.ErrorIs(t, report.IOUringError, errno)
				err := netpoll.Configure(netpoll.Config{IOUring: netpoll.IOUringOn})
				require.ErrorIs(t, err, errno)
				require.Zero(t, countFiles("anon_inode:[io_uring]"))
				require.Empty(t, log.String(), "what is missing from the beginning is no news")
			})
		}
	}
}
