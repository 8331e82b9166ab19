//go:build linux && !netconn

package netpoll

// A worker for whose ring the system has no room.

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll/internal/testkit"
)

// A worker for whose ring there is no room makes plain calls. Those who have one keep it, and so may this one later.
func TestRingWithoutRoomIsMadeLater(t *testing.T) {
	log := testkit.CaptureLog(t, SetLoggerOutput)
	h := newTestPoller(t)
	var refusal error
	made, asked := &fakeRing{size: 64}, 0
	policy := h.rings("on", func() (ring, error) {
		if asked++; refusal != nil {
			return nil, os.NewSyscallError("io_uring_setup", refusal)
		}
		return made, nil
	})
	usePolicy(t, policy)
	fl := newFleet(t, h, 8, "unix")
	round := func() (submits int64) {
		before := made.submits.Load()
		fl.ask(t)
		fl.answered(t)
		h.settle()
		return made.submits.Load() - before
	}
	require.Positive(t, round())
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EAGAIN} {
		h.do(func() {
			h.leader.io.close()
			refusal, asked = errno, 0
		})
		require.Zero(t, round())
		require.Zero(t, round())
		require.True(t, Features().IOUring, "others have one")
		h.do(func() {
			require.Equal(t, 1, asked, "tried again and again")
			h.leader.io.noneTill, refusal = 1, nil
		})
		require.Positive(t, round())
	}
	require.Equal(t, 1, strings.Count(log.String(), "\n"), "lines in the log:\n%s", log)

	h.do(func() {
		h.leader.io.close()
		refusal = syscall.EPERM
	})
	require.Zero(t, round())
	require.ErrorIs(t, Features().IOUringError, syscall.EPERM, "it is forbidden by now, to all")
}
