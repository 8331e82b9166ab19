package test

// crypto/tls over connections and listeners of this package.

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

const tlsServerName = "server.test"

// newTLSConfigs returns what a server and a client need that trust each other.
func newTLSConfigs(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	cert := testkit.Certificate(tlsServerName)
	pool := x509.NewCertPool()
	pool.AddCert(cert.Leaf)
	server = &tls.Config{Certificates: []tls.Certificate{cert}}
	return server, &tls.Config{RootCAs: pool, ServerName: tlsServerName}
}

// echoToEnd sends back what arrives until the peer half-closes, then closes.
func echoToEnd(conn net.Conn) error {
	defer conn.Close()
	_, err := io.Copy(conn, conn)
	return err
}

// exchange sends data through a TLS client and expects it back, then the end.
func exchange(t *testing.T, conn *tls.Conn, data []byte) {
	t.Helper()
	require.NoError(t, conn.SetDeadline(time.Now().Add(testkit.Timeout)))
	sent := make(chan error, 1)
	go func() {
		if _, err := conn.Write(data); err != nil {
			sent <- err
			return
		}
		sent <- conn.CloseWrite()
	}()
	got, err := io.ReadAll(conn)
	require.NoError(t, err)
	require.NoError(t, testkit.Receive(t, sent))
	require.True(t, bytes.Equal(data, got), "%d of %d bytes came back, or others", len(got), len(data))
}

// Behaviour 6.3: tls.NewListener works on the listener, and tls.Client on a dialed connection.
func TestTLSOverListenerAndDialedConnection(t *testing.T) {
	serverConfig, clientConfig := newTLSConfigs(t)
	ours := func(t testing.TB, network string) net.Listener { return testnet.Listen(t, network) }
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		for _, c := range []struct {
			name   string
			listen func(t testing.TB, network string) net.Listener
			dial   dialFunc
		}{
			{"our server", ours, net.Dial},
			{"our client", testkit.Listen, dialNetpoll},
			{"both", ours, dialNetpoll},
		} {
			t.Run(c.name, func(t *testing.T) {
				ln := tls.NewListener(c.listen(t, network), serverConfig)
				served := make(chan error, 1)
				go func() {
					conn, err := ln.Accept()
					if err == nil {
						err = echoToEnd(conn)
					}
					served <- err
				}()
				raw, err := c.dial(network, ln.Addr().String())
				require.NoError(t, err)
				conn := tls.Client(raw, clientConfig)
				defer conn.Close()
				exchange(t, conn, testkit.Pattern(2<<20))
				require.NoError(t, testkit.Receive(t, served))
			})
		}
	})
}

// Behaviour 5.4: an OnRequest may block for the connection's whole life, here with a TLS session inside.
func TestTLSInsideOnRequest(t *testing.T) {
	serverConfig, clientConfig := newTLSConfigs(t)
	served := make(chan error, 1)
	addr := testnet.NewServer(t, "tcp", func(_ context.Context, conn netpoll.Connection) error {
		err := echoToEnd(tls.Server(conn, serverConfig))
		served <- err
		return err
	}).Addr().String()
	raw, err := dialNetpoll("tcp", addr)
	require.NoError(t, err)
	conn := tls.Client(raw, clientConfig)
	defer conn.Close()
	exchange(t, conn, testkit.Pattern(1<<20))
	require.NoError(t, testkit.Receive(t, served))
}

// Behaviour 3.8: a handshake that gets no answer ends with its context, which sets a deadline on a blocked Read.
func TestTLSHandshakeEndsWithContext(t *testing.T) {
	_, clientConfig := newTLSConfigs(t)
	conn, _ := testnet.Dialed(t, "tcp")
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Short)
	defer cancel()
	session := tls.Client(conn, clientConfig)
	require.ErrorIs(t, session.HandshakeContext(ctx), context.DeadlineExceeded)
}
