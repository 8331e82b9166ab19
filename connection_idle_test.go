//go:build linux && !netconn

package netpoll

// Which events count as traffic for the idle limit.

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Bytes that functions of RawConn move are traffic.
func TestIdleLimitCountsWhatMovesThroughRawConn(t *testing.T) {
	conn, peer := connectPair(t)
	defer conn.Close()
	defer peer.Close()
	c := inner(conn)
	require.NoError(t, c.SetIdleLimit(time.Hour))
	raw, err := c.SyscallConn()
	require.NoError(t, err)
	for name, move := range map[string]func() error{
		"read": func() error {
			sent := false
			return raw.Read(func(fd uintptr) bool {
				if !sent { // traffic before this is the connection's
					sent = true
					_, err = peer.Write([]byte("x"))
					require.NoError(t, err)
				}
				_, err = syscall.Read(int(fd), make([]byte, 1))
				return err != syscall.EAGAIN
			})
		},
		"write": func() error {
			return raw.Write(func(fd uintptr) bool {
				_, err = syscall.Write(int(fd), []byte("x"))
				return err != syscall.EAGAIN
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			last := &c.idle.Load().last
			last.Store(0)
			require.NoError(t, move())
			require.NotZero(t, last.Load(), "the time was not noted")
		})
	}
}
