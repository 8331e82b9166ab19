//go:build faults && unix

package fault

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// A seed that found something finds it again.
func TestScheduleDependsOnItsSeedAlone(t *testing.T) {
	decisions := func(seed uint64) (list []syscall.Errno) {
		s := &Schedule{Seed: seed, Rate: 0.5}
		for range 50 {
			for op := range ops {
				_, errno := s.decide(op, 100)
				list = append(list, errno)
			}
		}
		return list
	}
	require.Equal(t, decisions(1), decisions(1))
	require.NotEqual(t, decisions(1), decisions(2))
}

func TestScheduleOfOneFaultFailsThatCallOnly(t *testing.T) {
	calls := Calls{Recv: 3}
	list := calls.EachFault(1, 0)
	require.Len(t, list, 3*len(plausible[Recv]))
	for _, f := range list {
		s := &Schedule{Only: &f}
		Use(s)
		for nth := int64(1); nth <= 3; nth++ {
			require.Zero(t, Check(Send))
			limit, errno := ask(Recv, 70)
			switch {
			case nth != f.nth:
				require.Zero(t, errno, f)
				require.Equal(t, 70, limit, f)
			case f.errno == Short:
				require.Equal(t, 10, limit, f)
			default:
				require.Equal(t, f.errno, errno, f)
			}
		}
		Use(nil)
		require.Equal(t, int64(1), s.Fired())
		require.Equal(t, "3 recv, 3 send", s.Calls().String())
	}
}

func TestEveryCallHasANameAndAFault(t *testing.T) {
	for op := range ops {
		require.NotEmpty(t, op.String())
		require.NotEmpty(t, plausible[op], op)
	}
}
