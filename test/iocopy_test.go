package test

// Connections under the reading and writing functions of the standard library.

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

// copied is the input of the tests, far more than buffers hold.
const copied = 6 << 20

// Behaviour 2.4: io.ReadAll works.
func TestIOReadAllReadsToTheEnd(t *testing.T) {
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		client, server := testnet.Pair(t, network)
		sent := make(chan error, 1)
		go func() {
			_, err := client.Write(testkit.Pattern(copied))
			client.Close()
			sent <- err
		}()
		require.NoError(t, server.SetReadTimeout(testkit.Timeout))
		got, err := io.ReadAll(server)
		require.NoError(t, err)
		require.NoError(t, testkit.Receive(t, sent))
		require.True(t, bytes.Equal(testkit.Pattern(copied), got))
	})
}

// Behaviour 2.4: io.Copy works in both directions; a proxy is two of them.
func TestIOCopyProxiesBothWays(t *testing.T) {
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		client, front := testnet.Pair(t, network)
		back, backend := testnet.Dialed(t, network)
		proxied := make(chan error, 2)
		go func() { _, err := io.Copy(back, front); proxied <- err }()
		go func() { _, err := io.Copy(front, back); proxied <- err }()
		echoed := make(chan error, 1)
		go func() { _, err := io.Copy(backend, backend); echoed <- err }()
		sent := make(chan error, 1)
		go func() { _, err := client.Write(testkit.Pattern(copied)); sent <- err }()
		got := make([]byte, copied)
		require.NoError(t, client.SetReadDeadline(time.Now().Add(testkit.Timeout)))
		_, err := io.ReadFull(client, got)
		require.NoError(t, err)
		require.NoError(t, testkit.Receive(t, sent))
		require.True(t, bytes.Equal(testkit.Pattern(copied), got))
		require.NoError(t, client.Close())
		require.NoError(t, testkit.Receive(t, proxied), "the end of the stream is no error of io.Copy")
		require.NoError(t, backend.Close())
		testkit.Receive(t, proxied) // from a connection whose other half the test has just closed
		testkit.Receive(t, echoed)
	})
}

// Behaviour 2.4: bufio works: a Scanner ends without an error, a Writer sends with its Flush.
func TestBufioReadsAndWritesLines(t *testing.T) {
	client, server := testnet.Pair(t, "tcp")
	const lines = 20_000
	sent := make(chan error, 1)
	go func() {
		w := bufio.NewWriter(client)
		for i := range lines {
			fmt.Fprintf(w, "line %d\n", i)
		}
		err := w.Flush()
		client.Close()
		sent <- err
	}()
	require.NoError(t, server.SetReadDeadline(time.Now().Add(testkit.Timeout)))
	scanner := bufio.NewScanner(server)
	n := 0
	for ; scanner.Scan(); n++ {
		require.Equal(t, fmt.Sprintf("line %d", n), scanner.Text())
	}
	require.NoError(t, scanner.Err())
	require.Equal(t, lines, n)
	require.NoError(t, testkit.Receive(t, sent))
}

// Behaviour 1.2: a json.Encoder and Decoder talk over a connection, one message at a time.
func TestJSONMessagesOverConnection(t *testing.T) {
	client, server := testnet.Pair(t, "tcp")
	require.NoError(t, client.SetDeadline(time.Now().Add(testkit.Timeout)))
	require.NoError(t, server.SetDeadline(time.Now().Add(testkit.Timeout)))
	toServer, fromClient := json.NewEncoder(client), json.NewDecoder(server)
	toClient, fromServer := json.NewEncoder(server), json.NewDecoder(client)
	for i := range 100 {
		require.NoError(t, toServer.Encode(map[string]int{"i": i}))
		var m map[string]int
		require.NoError(t, fromClient.Decode(&m))
		require.NoError(t, toClient.Encode(m["i"]+1))
		var answer int
		require.NoError(t, fromServer.Decode(&answer))
		require.Equal(t, i+1, answer)
	}
}

// Behaviour 4.4: net.Buffers writes all its parts in order.
func TestNetBuffersWriteTo(t *testing.T) {
	conn, peer := testnet.Dialed(t, "tcp")
	buffers := net.Buffers{[]byte("one,"), nil, []byte("two,"), testkit.Pattern(100_000)}
	n, err := buffers.WriteTo(conn)
	require.NoError(t, err)
	require.EqualValues(t, 8+100_000, n)
	arrives(t, peer, "one,two,"+string(testkit.Pattern(100_000)))
}

// Behaviour 3.9: Read and Reader see the same stream, in turn.
func TestReadAndReaderTakeTurns(t *testing.T) {
	conn, peer := testnet.Dialed(t, "tcp")
	testkit.Send(t, peer, "0123456789")
	testnet.Buffered(t, conn, 10)
	s, err := conn.Reader().ReadString(3)
	require.NoError(t, err)
	require.Equal(t, "012", s)
	p := make([]byte, 4)
	n, err := conn.Read(p)
	require.NoError(t, err)
	require.Equal(t, "3456", string(p[:n]))
	n, err = netpoll.NewIOReader(conn.Reader()).Read(p)
	require.NoError(t, err)
	require.Equal(t, "789", string(p[:n]))
	n, err = conn.Read(nil)
	require.NoError(t, err, "an empty Read does not wait")
	require.Zero(t, n)
}
