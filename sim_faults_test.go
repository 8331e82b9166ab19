//go:build faults && linux && !netconn && !kqsim

package netpoll

// The faults of a simulation: with the build tag, system calls of most worlds fail at random. Those that must not be
// seen by any user change no promise; the others end connections, and then what was received still is a prefix.

import (
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/cloudwego/netpoll/internal/fault"
)

func init() {
	simFaults = injectFaults
	simFaultReport = func() string { return "\n" + strings.Join(fault.Totals.Lines(), "\n") }
}

// simFaultKinds are the errors of each call: first those that no user may notice.
var simFaultKinds = map[fault.Op][2][]syscall.Errno{
	fault.Recv:      {{fault.Short, syscall.EINTR, syscall.EAGAIN}, {syscall.ECONNRESET}},
	fault.Send:      {{fault.Short, syscall.EINTR, syscall.EAGAIN}, {syscall.ECONNRESET, syscall.ENOBUFS}},
	fault.Sendv:     {{fault.Short, syscall.EINTR, syscall.EAGAIN}, {syscall.ECONNRESET, syscall.ENOBUFS}},
	fault.EpollWait: {{syscall.EINTR}, nil},
	// A false EAGAIN would be waited for: the Go runtime reports once that there is something.
	fault.RecvPackets: {{fault.Short, syscall.EINTR}, nil},
	fault.SendPackets: {{fault.Short, syscall.EINTR}, nil},
	fault.Accept:      {{syscall.EINTR, syscall.EAGAIN, syscall.ECONNABORTED}, nil},
}

// injectFaults fails one call in a few, and one in many for good if rude is set.
func injectFaults(seed uint64, rude bool) (stop func() (injected int64)) {
	var mu sync.Mutex // guards r
	r := rand.New(rand.NewPCG(seed, 4))
	oneIn := 3 + r.IntN(60)
	var injected atomic.Int64
	fault.SetHook(func(op fault.Op, size int) (limit int, errno syscall.Errno) {
		kinds := simFaultKinds[op]
		mu.Lock()
		defer mu.Unlock()
		list := kinds[0]
		if rude && len(kinds[1]) > 0 && r.IntN(200) == 0 {
			list = kinds[1]
		} else if r.IntN(oneIn) > 0 {
			return size, 0
		}
		if len(list) == 0 {
			return size, 0
		}
		errno = list[r.IntN(len(list))]
		if errno == fault.Short && size < 2 {
			return size, 0
		}
		injected.Add(1)
		fault.Totals.Note(op, errno)
		if errno == fault.Short {
			return 1 + r.IntN(size-1), 0
		}
		return size, errno
	})
	return func() int64 {
		fault.SetHook(nil)
		return injected.Load()
	}
}
