//go:build linux && !netconn

package netpoll

// The features of the system that the library uses: the modes, how they are set, and the report of Features.

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/uring"
)

func TestModesOfTheRing(t *testing.T) {
	refusal := fmt.Errorf("refused: %w", syscall.EPERM)
	for _, tc := range []struct {
		operator string
		config   IOUringMode
		least    int
		refusal  error // with a system that refuses
	}{
		{"", IOUringAuto, leastBatch, refusal},
		{"", IOUringOn, leastBatch, refusal},
		{"", IOUringOff, 0, ErrIOUringOff},
		{"", IOUringAlways, 1, refusal},
		{"auto", IOUringOff, leastBatch, refusal},
		{"on", IOUringOff, leastBatch, refusal},
		{"off", IOUringAlways, 0, ErrIOUringOff},
		{"always", IOUringOff, 1, refusal},
	} {
		t.Run(fmt.Sprintf("%q/%d", tc.operator, tc.config), func(t *testing.T) {
			for _, possible := range []bool{true, false} {
				var probed atomic.Int32
				u := newRingPolicy(tc.operator, func() error {
					probed.Add(1)
					if possible {
						return nil
					}
					return refusal
				})
				require.Zero(t, probed.Load(), "nothing is tried out before it is needed")
				u.set(tc.config)
				require.Equal(t, tc.least, u.least())
				if possible && tc.least > 0 {
					require.NoError(t, u.refusal())
				} else {
					require.ErrorIs(t, u.refusal(), tc.refusal)
				}
				if tc.least == 0 {
					require.Zero(t, probed.Load(), "what is switched off is not tried out")
				}
			}
		})
	}
}

func TestUnknownModeOfTheOperatorIsReportedOnceAndIgnored(t *testing.T) {
	log := testkit.CaptureLog(t, SetLoggerOutput)
	u := newRingPolicy("sometimes", func() error { return nil })
	require.Equal(t, leastBatch, u.least(), "as without it")
	require.NoError(t, u.refusal())
	require.Equal(t, 1, strings.Count(log.String(), "\n"), log.String())
	require.Contains(t, log.String(), `NETPOLL_IOURING is "sometimes"`)
	u.set(IOUringOff)
	require.Zero(t, u.least(), "the program's word counts then")
}

func TestModeThatIsDemandedMustBePossible(t *testing.T) {
	u := newRingPolicy("", func() error { return syscall.ENOSYS })
	require.NoError(t, u.possible(IOUringAuto))
	require.NoError(t, u.possible(IOUringOff))
	require.ErrorIs(t, u.possible(IOUringOn), syscall.ENOSYS)
	require.ErrorIs(t, u.possible(IOUringAlways), syscall.ENOSYS)
}

func TestConfigureRefusesARingThatCannotBeHadAndChangesNothing(t *testing.T) {
	usePolicy(t, newRingPolicy("", func() error { return syscall.ENOSYS }))
	before := bufferSize.Load()
	for _, mode := range []IOUringMode{IOUringOn, IOUringAlways} {
		err := Configure(Config{IOUring: mode, BufferSize: 12345})
		require.ErrorIs(t, err, syscall.ENOSYS)
		require.ErrorContains(t, err, "io_uring")
	}
	for _, mode := range []IOUringMode{-1, IOUringAlways + 1} {
		require.Error(t, Configure(Config{IOUring: mode, BufferSize: 12345}))
	}
	require.Equal(t, before, bufferSize.Load())
	require.Equal(t, leastBatch, defaultRingPolicy.least())
	require.Equal(t, FeatureReport{IOUringError: syscall.ENOSYS}, Features())

	require.NoError(t, Configure(Config{IOUring: IOUringOff}))
	require.ErrorIs(t, Features().IOUringError, ErrIOUringOff)
	require.NoError(t, Configure(Config{})) // IOUringAuto leaves the setting as it is
	require.ErrorIs(t, Features().IOUringError, ErrIOUringOff)
}

// A ring that has failed stays out of use whatever is configured afterwards.
func TestBrokenRingStaysOutOfUse(t *testing.T) {
	testkit.CaptureLog(t, SetLoggerOutput)
	u := newRingPolicy("", func() error { return nil })
	u.failed(uring.ErrMisbehaves)
	u.failed(errors.New("another"))
	for _, mode := range []IOUringMode{IOUringAuto, IOUringOn, IOUringAlways} {
		u.set(mode)
		require.Zero(t, u.least())
		require.ErrorIs(t, u.refusal(), uring.ErrMisbehaves)
	}
	require.ErrorIs(t, u.possible(IOUringOn), uring.ErrMisbehaves, "Configure must not promise one")
}

func TestConfiguredDirectFlushHoldsForLaterConnections(t *testing.T) {
	defer directFlush.Store(directFlush.Load())
	h := newTestPoller(t)
	before, _ := h.connect("unix")
	require.NoError(t, Configure(Config{DirectFlush: true}))
	c, peer := h.connect("unix")
	_ = h.hold()
	putPending(t, before, "earlier connections are as they were")
	put(t, c, "direct")
	require.False(t, c.life.load().has(bitPending))
	testkit.Expect(t, peer, "direct")
}
