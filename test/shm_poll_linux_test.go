//go:build !netconn && !kqsim

package test

// Busy polling over shared memory.

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
)

// Polling takes its time and no more: a wait ends by its timeout, and what comes later wakes the reader.
func TestBusyPollingEnds(t *testing.T) {
	a, b := shmPair(t, netpoll.ShmConfig{BusyPoll: time.Millisecond})
	require.NoError(t, a.SetReadTimeout(testkit.Short))
	for range 10 {
		_, err := a.Reader().Next(1)
		require.ErrorIs(t, err, netpoll.ErrReadTimeout)
	}
	require.NoError(t, a.SetReadTimeout(testkit.Timeout))
	for range 10 { // polling is left out now
		result := testkit.Blocked(t, func() error { _, err := a.Reader().Next(5); return err })
		require.NoError(t, testkit.ErrorOf(b.Write([]byte("hello"))))
		require.NoError(t, testkit.Receive(t, result))
	}
	result := testkit.Blocked(t, func() error { _, err := a.Reader().Next(5); return err })
	require.NoError(t, a.Close())
	require.ErrorIs(t, testkit.Receive(t, result), netpoll.ErrConnClosed)
}

// A message that is longer than the ring arrives while its reader polls, and a peer that closes ends the polling.
func TestBusyPollingReceivesByItself(t *testing.T) {
	config := netpoll.ShmConfig{BusyPoll: time.Millisecond, RingSize: 4 << 10}
	a, b := shmPair(t, config)
	sent := testkit.Pattern(100_000)
	for range 10 {
		go func() { _, _ = b.Write(sent) }()
		got, err := a.Reader().ReadBinary(len(sent))
		require.NoError(t, err)
		require.Equal(t, sent, got)
	}
	result := testkit.Blocked(t, func() error { _, err := a.Reader().Next(1); return err })
	require.NoError(t, b.Close())
	require.ErrorIs(t, testkit.Receive(t, result), netpoll.ErrEOF)
}
