//go:build !netconn && !kqsim

package test

// The statistics of shared memory.

import (
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/shmring"
	"github.com/cloudwego/netpoll/internal/testkit"
)

func TestStatisticsOfSharedMemory(t *testing.T) {
	require.True(t, netpoll.Features().SharedMemory)
	require.NoError(t, netpoll.Features().SharedMemoryError)
	var here, there netpoll.ShmStatistics
	config := netpoll.ShmConfig{RingSize: 64 << 10, MaxMemory: 64 << 10, Fallback: true, Statistics: &there}
	ln := listenShm(t, config)
	config.Statistics = &here
	dialer := &netpoll.ShmDialer{Config: config}
	connect := func() (client, server net.Conn) {
		client, err := dialer.Dial("shm", ln.Addr().String())
		require.NoError(t, err)
		t.Cleanup(func() { client.Close() })
		server, err = ln.Accept()
		require.NoError(t, err)
		t.Cleanup(func() { server.Close() })
		return client, server
	}
	client, server := connect()
	for range 3 {
		require.NoError(t, testkit.ErrorOf(client.Write(make([]byte, 1000))))
		require.NoError(t, testkit.ErrorOf(io.ReadFull(server, make([]byte, 1000))))
	}
	for name, s := range map[string]*netpoll.ShmStatistics{"dialer": &here, "listener": &there} {
		n := s.Counts()
		require.EqualValues(t, 1, n.Open, name)
		require.EqualValues(t, 1, n.Shared, name)
		require.EqualValues(t, shmring.Header+64<<10, n.Memory, name)
		require.Positive(t, n.WakeUps, name)
		require.Zero(t, n.Sockets, name)
		require.Zero(t, n.Refused, name)
	}
	require.EqualValues(t, 3000, here.Counts().Sent)
	require.EqualValues(t, 3000, there.Counts().Received)
	require.Zero(t, here.Counts().Received)
	require.Zero(t, there.Counts().Sent)

	connect() // the limit is reached
	require.Equal(t, netpoll.ShmReasons{Limit: 1}, there.Counts().Sockets)
	require.Equal(t, netpoll.ShmReasons{Peer: 1}, here.Counts().Sockets)

	require.NoError(t, client.Close())
	require.NoError(t, server.Close())
	testkit.Eventually(t, func() bool { return here.Counts().Open == 0 && there.Counts().Open == 0 })
	require.Zero(t, here.Counts().Memory)
	require.Zero(t, there.Counts().Memory)
	require.EqualValues(t, 1, there.Counts().Shared, "they are counted for ever")
}

func TestRefusalsOfSharedMemoryAreCounted(t *testing.T) {
	for name, test := range map[string]struct {
		config      netpoll.ShmConfig
		here, there netpoll.ShmReasons
		greeting    []byte
	}{
		"user": {config: netpoll.ShmConfig{AllowUser: func(uint32) bool { return false }},
			here: netpoll.ShmReasons{Peer: 1}, there: netpoll.ShmReasons{User: 1}},
		"limit": {config: netpoll.ShmConfig{MaxMemory: 1},
			here: netpoll.ShmReasons{Peer: 1}, there: netpoll.ShmReasons{Limit: 1}},
		"another protocol": {greeting: []byte("GET / HTTP/1.1\r\n\r\n"), there: netpoll.ShmReasons{Other: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			var here, there netpoll.ShmStatistics
			test.config.Statistics = &there
			ln := listenShm(t, test.config)
			if test.greeting != nil {
				require.NoError(t, testkit.ErrorOf(dialUnix(t, ln).Write(test.greeting)))
			} else {
				dialer := &netpoll.ShmDialer{Config: netpoll.ShmConfig{Statistics: &here}}
				_, err := dialer.Dial("shm", ln.Addr().String())
				require.Error(t, err)
			}
			testkit.Eventually(t, func() bool { return there.Counts().Refused == test.there })
			require.Equal(t, test.here, here.Counts().Refused)
			require.Zero(t, there.Counts().Open)
		})
	}
}
