package test

// Connections with TLS as net.Conns.

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"testing"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/nettest"
)

// overVersions runs f with the configs of a server and a client that agree on each version of TLS.
func overVersions(t *testing.T, f func(t *testing.T, server, client *tls.Config)) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			server, client := newTLSConfigs(t)
			client.MinVersion, client.MaxVersion = version, version
			f(t, server, client)
		})
	}
}

// dialTLS is a dialFunc of a client with that config.
func dialTLS(config *tls.Config) dialFunc {
	dialer := &netpoll.TLSDialer{Config: config}
	return func(network, address string) (net.Conn, error) {
		return dialer.DialTimeout(network, address, testkit.Timeout)
	}
}

// handshaker is a net.Conn with TLS.
type handshaker interface {
	net.Conn
	HandshakeContext(ctx context.Context) error
}

// tlsPipeMaker is pipeMaker for connections with TLS, whose handshake needs both ends.
func tlsPipeMaker(ln net.Listener, dial dialFunc) nettest.MakePipe {
	return func() (c1, c2 net.Conn, stop func(), err error) {
		accepted := make(chan error, 1)
		go func() {
			var err error
			if c2, err = ln.Accept(); err == nil {
				err = c2.(handshaker).HandshakeContext(context.Background())
			}
			accepted <- err
		}()
		c1, err = dial(ln.Addr().Network(), ln.Addr().String())
		if err = errors.Join(err, <-accepted); err != nil {
			return nil, nil, nil, err
		}
		return c1, c2, func() { c1.Close(); c2.Close() }, nil
	}
}

// Behaviour 2.4, with TLS. A tls.Conn of package crypto/tls passes 8 of the 11 parts.
func TestTLSConnectionsConformToNetConn(t *testing.T) {
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		overVersions(t, func(t *testing.T, server, client *tls.Config) {
			t.Run("dialed to accepted", func(t *testing.T) {
				ln := netpoll.NewTLSListener(testnet.Listen(t, network), server)
				nettest.TestConn(t, tlsPipeMaker(ln, dialTLS(client)))
			})
			t.Run("accepted from dialed", func(t *testing.T) {
				ln := netpoll.NewTLSListener(testnet.Listen(t, network), server)
				nettest.TestConn(t, swapped(tlsPipeMaker(ln, dialTLS(client))))
			})
			t.Run("served from dialed", func(t *testing.T) {
				nettest.TestConn(t, swapped(servedTLSPipeMaker(t, network, server, dialTLS(client))))
			})
		})
	})
}

// servedTLSPipeMaker is servedPipeMaker with TLS.
func servedTLSPipeMaker(t *testing.T, network string, config *tls.Config, dial dialFunc) nettest.MakePipe {
	accepted := make(chan net.Conn, 1)
	addr := testnet.NewServer(t, network, nil, netpoll.WithTLSConfig(config), netpoll.WithOnConnect(
		func(ctx context.Context, conn netpoll.Connection) context.Context {
			accepted <- conn
			return ctx
		})).Addr()
	return func() (c1, c2 net.Conn, stop func(), err error) {
		if c1, err = dial(addr.Network(), addr.String()); err != nil {
			return nil, nil, nil, err
		}
		c2 = testkit.Receive(t, accepted)
		return c1, c2, func() { c1.Close(); c2.Close() }, nil
	}
}

// tlsEcho serves an echo with TLS.
func tlsEcho(t testing.TB, network string, config *tls.Config, opts ...netpoll.Option) *testnet.Server {
	return testnet.NewServer(t, network, echoAll, append(opts, netpoll.WithTLSConfig(config))...)
}

// echoAll is an OnRequest that sends back what has arrived.
func echoAll(_ context.Context, conn netpoll.Connection) error {
	p, err := conn.Reader().Next(conn.Reader().Len())
	if err != nil {
		return err
	}
	if _, err := conn.Writer().WriteBinary(p); err != nil {
		return err
	}
	err = conn.Writer().Flush()
	return errors.Join(err, conn.Reader().Release())
}

func TestTLSEventLoopEchoesToCryptoTLS(t *testing.T) {
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		overVersions(t, func(t *testing.T, server, client *tls.Config) {
			addr := tlsEcho(t, network, server).Addr()
			conn, err := tls.Dial(network, addr.String(), client)
			require.NoError(t, err)
			defer conn.Close()
			exchange(t, conn, testkit.Pattern(3<<20))
		})
	})
}
