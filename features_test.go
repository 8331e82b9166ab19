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
				u := newExecutorPolicy(ioUring, tc.operator, func() error {
					probed.Add(1)
					if possible {
						return nil
					}
					return refusal
				})
				require.Zero(t, probed.Load(), "nothing is tried out before it is needed")
				u.set(executorMode(tc.config))
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
	u := newExecutorPolicy(ioUring, "sometimes", func() error { return nil })
	require.Equal(t, leastBatch, u.least(), "as without it")
	require.NoError(t, u.refusal())
	require.Equal(t, 1, strings.Count(log.String(), "\n"), log.String())
	require.Contains(t, log.String(), `NETPOLL_IOURING is "sometimes"`)
	u.set(executorOff)
	require.Zero(t, u.least(), "the program's word counts then")
}

func TestModeThatIsDemandedMustBePossible(t *testing.T) {
	u := newExecutorPolicy(ioUring, "", func() error { return syscall.ENOSYS })
	require.NoError(t, u.possible(executorAuto))
	require.NoError(t, u.possible(executorOff))
	require.ErrorIs(t, u.possible(executorOn), syscall.ENOSYS)
	require.ErrorIs(t, u.possible(executorAlways), syscall.ENOSYS)
}

func TestConfigureRefusesAIOThatCannotBeHadAndChangesNothing(t *testing.T) {
	useExecutors(t, &executors{
		ring: newExecutorPolicy(ioUring, "", func() error { return nil }),
		aio:  newExecutorPolicy(linuxAIO, "", func() error { return syscall.EAGAIN }),
	})
	before := bufferSize.Load()
	for _, mode := range []AIOMode{AIOOn, AIOAlways} {
		err := Configure(Config{AIO: mode, BufferSize: 12345})
		require.ErrorIs(t, err, syscall.EAGAIN)
		require.ErrorContains(t, err, "aio")
	}
	for _, mode := range []AIOMode{-1, AIOAlways + 1} {
		require.Error(t, Configure(Config{AIO: mode, BufferSize: 12345}))
	}
	require.Equal(t, before, bufferSize.Load())
	require.Equal(t, FeatureReport{IOUring: true, AIOError: errIOUringInstead}, executorReport())

	require.NoError(t, Configure(Config{AIO: AIOOff}))
	require.NoError(t, Configure(Config{})) // AIOAuto leaves the setting as it is
	require.Equal(t, FeatureReport{IOUring: true, AIOError: ErrAIOOff}, executorReport())
}

func TestConfigureRefusesARingThatCannotBeHadAndChangesNothing(t *testing.T) {
	usePolicy(t, newExecutorPolicy(ioUring, "", func() error { return syscall.ENOSYS }))
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
	require.Equal(t, leastBatch, defaultExecutors.ring.least())
	require.Equal(t, FeatureReport{IOUringError: syscall.ENOSYS, AIOError: ErrAIOOff}, executorReport())

	require.NoError(t, Configure(Config{IOUring: IOUringOff}))
	require.ErrorIs(t, Features().IOUringError, ErrIOUringOff)
	require.NoError(t, Configure(Config{})) // IOUringAuto leaves the setting as it is
	require.ErrorIs(t, Features().IOUringError, ErrIOUringOff)
}

// executorReport is what Features tells about executors.
func executorReport() FeatureReport {
	report := Features()
	return FeatureReport{IOUring: report.IOUring, IOUringError: report.IOUringError, AIO: report.AIO, AIOError: report.AIOError}
}

// chosenFor names what executes a batch of n operations.
func chosenFor(e *executors, n int) string {
	if u := e.chosen(n); u != nil {
		return u.kind.name
	}
	return "plain calls"
}

func TestExecutorIsIOUringThenAIOThenNone(t *testing.T) {
	refused := syscall.EPERM
	fails := fmt.Errorf("it fails: %w", syscall.ENXIO)
	const plain, always = "plain calls", 1
	for _, tc := range []struct {
		ring, aio       string
		noRing, noAIO   bool // for the probe
		badRing, badAIO bool // failed later
		least           int
		want            string
		ringErr, aioErr error
	}{
		{"", "", false, false, false, false, leastBatch, "io_uring", nil, errIOUringInstead},
		{"", "", true, false, false, false, leastBatch, "linux aio", refused, nil},
		{"", "", true, true, false, false, leastBatch, plain, refused, refused},
		{"off", "", false, false, false, false, leastBatch, "linux aio", ErrIOUringOff, nil},
		{"off", "", false, true, false, false, leastBatch, plain, ErrIOUringOff, refused},
		{"off", "off", false, false, false, false, leastBatch, plain, ErrIOUringOff, ErrAIOOff},
		{"", "off", false, false, false, false, leastBatch, "io_uring", nil, ErrAIOOff},
		{"", "off", true, false, false, false, leastBatch, plain, refused, ErrAIOOff},
		{"always", "", false, false, false, false, always, "io_uring", nil, errIOUringInstead},
		{"always", "", true, false, false, false, leastBatch, "linux aio", refused, nil},
		{"", "always", false, false, false, false, always, "linux aio", errAIOInstead, nil},
		{"always", "always", false, false, false, false, always, "linux aio", errAIOInstead, nil},
		{"", "always", false, true, false, false, leastBatch, "io_uring", nil, errIOUringInstead},
		// What has failed is followed by plain calls, and by nothing else.
		{"", "", false, false, true, false, leastBatch, plain, fails, fails},
		{"", "", true, false, false, true, leastBatch, plain, refused, fails},
		{"", "always", false, false, false, true, leastBatch, plain, fails, fails},
	} {
		t.Run(fmt.Sprintf("%+v", tc), func(t *testing.T) {
			testkit.CaptureLog(t, SetLoggerOutput)
			probe := func(refuses bool) func() error {
				return func() error {
					if refuses {
						return refused
					}
					return nil
				}
			}
			e := &executors{
				ring: newExecutorPolicy(ioUring, tc.ring, probe(tc.noRing)),
				aio:  newExecutorPolicy(linuxAIO, tc.aio, probe(tc.noAIO)),
			}
			if tc.badRing {
				e.ring.failed(fails)
			}
			if tc.badAIO {
				e.aio.failed(fails)
			}
			if tc.noAIO && tc.want == plain { // it is chosen, and then cannot be made
				tc.want = "linux aio"
			}
			require.Equal(t, tc.want, chosenFor(e, tc.least))
			require.Equal(t, plain, chosenFor(e, tc.least-1))
			ringErr, aioErr := e.refusals()
			require.ErrorIs(t, ringErr, tc.ringErr)
			require.ErrorIs(t, aioErr, tc.aioErr)
			require.Equal(t, tc.ringErr == nil, ringErr == nil)
			require.Equal(t, tc.aioErr == nil, aioErr == nil)
		})
	}
}

// A mode that changes while the pollers run counts from the next batch on, whatever they have made before.
func TestPollerChangesItsExecutorWithTheMode(t *testing.T) {
	h := newTestPoller(t)
	var made []string
	e := &executors{
		ring: newExecutorPolicy(ioUring, "", func() error { return nil }),
		aio:  newExecutorPolicy(linuxAIO, "", func() error { return nil }),
	}
	rings := map[*executorKind]*fakeRing{}
	h.executors(e, func(kind *executorKind) (ring, error) {
		made = append(made, kind.name)
		rings[kind] = &fakeRing{size: 64}
		return rings[kind], nil
	})
	fl := newFleet(t, h, 8, "unix")
	for _, modes := range [][2]executorMode{
		{executorAuto, executorAuto}, {executorOff, executorAuto}, {executorOff, executorOff}, {executorAuto, executorAlways},
		{executorAuto, executorAuto},
	} {
		e.ring.set(modes[0])
		e.aio.set(modes[1])
		for range 2 {
			fl.ask(t)
			fl.answered(t)
		}
	}
	for _, c := range fl.conns {
		noOneInside(t, c)
	}
	h.do(func() { h.leader.io.close() })
	require.Equal(t, []string{"io_uring", "linux aio", "io_uring"}, made)
	for kind, r := range rings {
		require.NotZero(t, r.recvs.Load(), kind.name)
		require.EqualValues(t, 1, r.closed.Load(), kind.name)
	}
}

// A ring that has failed stays out of use whatever is configured afterwards.
func TestBrokenRingStaysOutOfUse(t *testing.T) {
	testkit.CaptureLog(t, SetLoggerOutput)
	u := newExecutorPolicy(ioUring, "", func() error { return nil })
	u.failed(uring.ErrMisbehaves)
	u.failed(errors.New("another"))
	for _, mode := range []IOUringMode{IOUringAuto, IOUringOn, IOUringAlways} {
		u.set(executorMode(mode))
		require.Zero(t, u.least())
		require.ErrorIs(t, u.refusal(), uring.ErrMisbehaves)
	}
	require.ErrorIs(t, u.possible(executorOn), uring.ErrMisbehaves, "Configure must not promise one")
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
