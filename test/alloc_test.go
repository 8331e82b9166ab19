package test

// Allocations on the paths that every request takes.

import (
	"encoding/binary"
	"io"
	"net"
	"runtime/debug"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

// allocationBudget is how many allocations a steady state may make: none. The race detector makes sync.Pool forget at
// random, and then every pooled object is allocated now and again, so under it the limit only says that it is few.
func allocationBudget() float64 {
	info, _ := debug.ReadBuildInfo()
	for _, s := range info.Settings {
		if s.Key == "-race" && s.Value == "true" {
			return 20
		}
	}
	return 0
}

// allocations returns how many allocations f makes when it has run for a while, in all goroutines.
func allocations(f func()) float64 {
	for range 200 {
		f()
	}
	return testing.AllocsPerRun(2000, f)
}

// plainRoundTrip sends p through a connection of package net and waits for as many bytes.
func plainRoundTrip(t *testing.T, peer net.Conn, p []byte) func() {
	require.NoError(t, peer.SetDeadline(time.Now().Add(testkit.Timeout)))
	return func() {
		if _, err := peer.Write(p); err != nil {
			t.Error(err)
		}
		if _, err := io.ReadFull(peer, p); err != nil {
			t.Error(err)
		}
	}
}

// Behaviour 8.1: a server allocates nothing for a request in the steady state.
func TestServerAllocatesNothingPerRequest(t *testing.T) {
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		for _, size := range []int{64, 1024, 4096} {
			_, peer := testnet.Served(t, network, testnet.Echo)
			got := allocations(plainRoundTrip(t, peer, make([]byte, size)))
			require.LessOrEqual(t, got, allocationBudget(), "allocations for an echo of %d bytes", size)
		}
	})
}

// Behaviour 8.1: a client allocates nothing for a request in the steady state, waiting with a timeout included.
func TestClientAllocatesNothingPerRequest(t *testing.T) {
	conn := dialTo(t, testnet.NewServer(t, "tcp", testnet.Echo).Addr().String())
	require.NoError(t, conn.SetReadTimeout(testkit.Timeout))
	require.NoError(t, conn.SetWriteTimeout(testkit.Timeout))
	body := make([]byte, 1000)
	got := allocations(func() {
		header, err := conn.Writer().Malloc(4)
		if err != nil {
			t.Error(err)
			return
		}
		binary.BigEndian.PutUint32(header, uint32(len(body)))
		if _, err := conn.Writer().WriteBinary(body); err != nil {
			t.Error(err)
		}
		if err := conn.Writer().Flush(); err != nil {
			t.Error(err)
		}
		if _, err := conn.Reader().Peek(4); err != nil {
			t.Error(err)
		}
		if _, err := conn.Reader().Next(4 + len(body)); err != nil {
			t.Error(err)
		}
		if err := conn.Reader().Release(); err != nil {
			t.Error(err)
		}
	})
	require.LessOrEqual(t, got, allocationBudget(), "allocations for a request")
}

// Behaviour 8.1: Read and Write allocate nothing either.
func TestReadAndWriteAllocateNothing(t *testing.T) {
	conn := dialTo(t, testnet.NewServer(t, "tcp", testnet.Echo).Addr().String())
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(testkit.Timeout)))
	p := make([]byte, 1000)
	got := allocations(func() {
		if _, err := conn.Write(p); err != nil {
			t.Error(err)
		}
		if _, err := io.ReadFull(conn, p); err != nil {
			t.Error(err)
		}
	})
	require.LessOrEqual(t, got, allocationBudget(), "allocations for a Write and the Read of its echo")
}

// dialTo is dial for a TCP address in text form.
func dialTo(t *testing.T, addr string) netpoll.Connection {
	t.Helper()
	a, err := net.ResolveTCPAddr("tcp", addr)
	require.NoError(t, err)
	return testnet.Dial(t, a)
}
