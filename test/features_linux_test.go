//go:build linux && !netconn

package test

// What the library does in a process whose operator, or whose container, decides about io_uring and AIO. These tests need a
// process of their own: the decision is made once.

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/aio"
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
			t.Parallel()
			there, output := testkit.OutputOfOwnProcess(t, "NETPOLL_IOURING="+tc.value, "NETPOLL_AIO=")
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

// used says what a report says is used; nothing may be, and never both.
func used(t *testing.T, r netpoll.FeatureReport) string {
	t.Helper()
	require.Equal(t, r.IOUring, r.IOUringError == nil, "%+v", r)
	require.Equal(t, r.AIO, r.AIOError == nil, "%+v", r)
	require.False(t, r.IOUring && r.AIO, "%+v", r)
	switch {
	case r.IOUring:
		return "io_uring"
	case r.AIO:
		return "aio"
	}
	return "neither"
}

func TestOperatorDecidesAboutAIO(t *testing.T) {
	ring, withoutRing := "io_uring", "aio"
	if aio.ProbeOnce() != nil {
		withoutRing = "neither"
	}
	if uring.ProbeOnce() != nil {
		ring = withoutRing
	}
	for _, tc := range []struct{ ring, aio, want string }{
		{"", "", ring}, {"auto", "auto", ring}, {"always", "on", ring}, {"on", "off", ring},
		{"off", "", withoutRing}, {"off", "auto", withoutRing}, {"off", "on", withoutRing},
		{"", "always", withoutRing}, {"always", "always", withoutRing}, {"off", "always", withoutRing},
		{"off", "off", "neither"},
	} {
		t.Run("ring "+tc.ring+", aio "+tc.aio, func(t *testing.T) {
			t.Parallel()
			if there, _ := testkit.OutputOfOwnProcess(t, "NETPOLL_IOURING="+tc.ring, "NETPOLL_AIO="+tc.aio); !there {
				return
			}
			report := netpoll.Features()
			require.Equal(t, tc.want, used(t, report))
			require.Equal(t, tc.aio == "off", errors.Is(report.AIOError, netpoll.ErrAIOOff))
			requireBatchesServed(t)
			require.Equal(t, tc.want == "io_uring", countFiles("anon_inode:[io_uring]") > 0)
			require.Equal(t, tc.want == "aio", contextsOfAIO(t) > 0)
		})
	}
}

// contextsOfAIO counts the contexts of AIO that this process has, by their mappings.
func contextsOfAIO(t *testing.T) int {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	require.NoError(t, err)
	return bytes.Count(maps, []byte("/[aio]"))
}

// A container whose filter forbids io_uring, or a kernel that has none, is served by AIO, and by plain system calls if
// that is forbidden too. Neither is logged, and Features reports both.
func TestProcessWithoutRingsServesAllTheSame(t *testing.T) {
	for _, errno := range []syscall.Errno{unix.EPERM, unix.ENOSYS} {
		for _, mode := range []string{"auto", "always"} {
			for _, both := range []bool{false, true} {
				name := fmt.Sprintf("%s %s both=%v", unix.ErrnoName(errno), mode, both)
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					if there, _ := testkit.OutputOfOwnProcess(t, "NETPOLL_IOURING="+mode, "NETPOLL_AIO="); !there {
						return
					}
					require.NoError(t, testkit.Forbid(errno, testkit.IOUringCalls...))
					want := "aio"
					if both {
						require.NoError(t, testkit.Forbid(errno, testkit.AIOCalls...))
					}
					possible := aio.ProbeOnce()
					if possible != nil {
						want = "neither"
					}
					log := testkit.CaptureLog(t, netpoll.SetLoggerOutput)
					requireBatchesServed(t)
					report := netpoll.Features()
					require.Equal(t, want, used(t, report))
					require.ErrorIs(t, report.IOUringError, errno)
					err := netpoll.Configure(netpoll.Config{IOUring: netpoll.IOUringOn})
					require.ErrorIs(t, err, errno)
					err = netpoll.Configure(netpoll.Config{AIO: netpoll.AIOOn})
					if both {
						require.ErrorIs(t, report.AIOError, errno)
						require.ErrorIs(t, err, errno)
					} else {
						require.Equal(t, possible, err)
					}
					require.Zero(t, countFiles("anon_inode:[io_uring]"))
					require.Equal(t, want == "aio", contextsOfAIO(t) > 0)
					require.Empty(t, log.String(), "what is missing from the beginning is no news")
				})
			}
		}
	}
}

// A filter that comes later, when AIO is in use already, is a failure that is logged once; plain calls go on.
func TestAIOThatIsForbiddenLaterIsGivenUp(t *testing.T) {
	if aio.ProbeOnce() != nil {
		t.Log("this system has no AIO: there is nothing to give up")
		return
	}
	if there, _ := testkit.OutputOfOwnProcess(t, "NETPOLL_IOURING=off", "NETPOLL_AIO=always"); !there {
		return
	}
	log := testkit.CaptureLog(t, netpoll.SetLoggerOutput)
	requireBatchesServed(t)
	require.True(t, netpoll.Features().AIO)
	require.NoError(t, testkit.Forbid(unix.EPERM, testkit.AIOCalls...))
	requireBatchesServed(t)
	report := netpoll.Features()
	require.False(t, report.AIO)
	require.ErrorIs(t, report.AIOError, unix.EPERM)
	require.ErrorContains(t, report.AIOError, "io_submit")
	require.Equal(t, 1, strings.Count(log.String(), "\n"), log.String())
	require.Contains(t, log.String(), "linux aio failed")
}
