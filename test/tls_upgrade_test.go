package test

// Connections that change to TLS while they are in use.

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

// startTLS is an OnRequest of a protocol that changes to TLS, and echoes then.
func startTLS(config *tls.Config) netpoll.OnRequest {
	return func(_ context.Context, conn netpoll.Connection) error {
		line, err := conn.Reader().Until('\n')
		if err != nil || string(line) != "STARTTLS\n" {
			return errors.Join(err, conn.Close())
		}
		_, err = conn.Writer().WriteString("go ahead\n")
		if err = errors.Join(err, conn.Writer().Flush()); err != nil {
			return err
		}
		secure, err := netpoll.TLSServer(conn, config)
		if err != nil {
			return err
		}
		return secure.SetOnRequest(echoAll)
	}
}

func TestTLSServerTakesOverAConnection(t *testing.T) {
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		overVersions(t, func(t *testing.T, config, client *tls.Config) {
			server := testnet.NewServer(t, network, startTLS(config))
			raw := testkit.Dial(t, server.Addr())
			testkit.Send(t, raw, "STARTTLS\n")
			testkit.Expect(t, raw, "go ahead\n")
			exchange(t, tls.Client(raw, client), testkit.Pattern(1<<20))
		})
	})
}

// A client need not wait for the answer.
func TestTLSServerBeginsWithWhatIsBuffered(t *testing.T) {
	config, client := newTLSConfigs(t)
	server := testnet.NewServer(t, "tcp", startTLS(config))
	raw := testkit.Dial(t, server.Addr())
	conn := tls.Client(&hasty{Conn: raw, r: bufio.NewReader(raw)}, client)
	testkit.ExpectEcho(t, conn, "hello")
	require.NoError(t, conn.Close())
}

// hasty sends the first flight of a handshake with its STARTTLS, and expects the answer to that before all others.
type hasty struct {
	net.Conn
	r              *bufio.Reader
	asked, reading bool
}

func (h *hasty) Write(p []byte) (int, error) {
	if h.asked {
		return h.Conn.Write(p)
	}
	h.asked = true
	n, err := h.Conn.Write(append([]byte("STARTTLS\n"), p...))
	return n - len("STARTTLS\n"), err
}

func (h *hasty) Read(p []byte) (int, error) {
	if !h.reading {
		h.reading = true
		if line, err := h.r.ReadString('\n'); err != nil || line != "go ahead\n" {
			return 0, errors.Join(errors.New("answer "+line), err)
		}
	}
	return h.r.Read(p)
}

func TestTLSClientTakesOverAConnection(t *testing.T) {
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		config, client := newTLSConfigs(t)
		server := testnet.NewServer(t, network, startTLS(config))
		conn := testnet.Dial(t, server.Addr())
		testkit.Send(t, conn, "STARTTLS\n")
		line, err := conn.Reader().Until('\n')
		require.NoError(t, err)
		require.Equal(t, "go ahead\n", string(line))
		secure, err := netpoll.TLSClient(conn, client)
		require.NoError(t, err)
		defer secure.Close()
		require.False(t, conn.IsActive())
		_, err = conn.Write([]byte("x"))
		require.ErrorIs(t, err, netpoll.ErrConnClosed)
		testkit.ExpectEcho(t, secure, "hello")
		require.Equal(t, server.Addr().String(), secure.RemoteAddr().String())
		require.NoError(t, secure.VerifyHostname(tlsServerName))
	})
}

// TLS inside of TLS is not there: the connection below is left as it was.
func TestTLSInsideOfTLSIsRefused(t *testing.T) {
	config, client := newTLSConfigs(t)
	conn, peer := tlsPair(t, config, client)
	_, err := netpoll.TLSClient(conn, client)
	require.ErrorIs(t, err, netpoll.ErrUnsupported)
	testkit.Send(t, peer, "still there")
	testkit.Expect(t, conn, "still there")
}

// The server goes on with the new connection in the place of the old one.
func TestTLSUpgradeKeepsThePlaceInTheServer(t *testing.T) {
	config, client := newTLSConfigs(t)
	events := make(chan string, 16)
	server := testnet.NewServer(t, "tcp", startTLS(config), netpoll.WithMaxConnections(1), netpoll.WithConnContext(),
		netpoll.WithOnPrepare(func(conn netpoll.Connection) context.Context {
			_ = conn.AddCloseCallback(func(conn netpoll.Connection) error {
				if _, ok := conn.(*netpoll.TLSConnection); ok {
					events <- "closed"
				}
				return nil
			})
			return context.WithValue(context.Background(), upgradeKey{}, "value")
		}),
		netpoll.WithOnDisconnect(func(ctx context.Context, conn netpoll.Connection) {
			if _, ok := conn.(*netpoll.TLSConnection); ok && ctx.Value(upgradeKey{}) == "value" {
				events <- "disconnect"
			}
		}))
	raw := testkit.Dial(t, server.Addr())
	testkit.Send(t, raw, "STARTTLS\n")
	testkit.Expect(t, raw, "go ahead\n")
	conn := tls.Client(raw, client)
	testkit.ExpectEcho(t, conn, "hello")
	second := testkit.Dial(t, server.Addr())
	testkit.Send(t, second, "STARTTLS\n")
	answered := make(chan error, 1)
	go func() { answered <- testkit.ErrorOf(io.ReadFull(second, make([]byte, 9))) }()
	testkit.Silent(t, testkit.Calm, answered, "an answer beyond the limit of connections")
	require.NoError(t, conn.Close())
	require.Equal(t, "disconnect", testkit.Receive(t, events))
	require.Equal(t, "closed", testkit.Receive(t, events))
	require.NoError(t, testkit.Receive(t, answered))
	last := tls.Client(second, client)
	testkit.ExpectEcho(t, last, "hello")
	server.Stop() // closes it
	testkit.ExpectEnd(t, last, "")
	require.Equal(t, "closed", testkit.Receive(t, events))
}

// upgradeKey is the key of a value in a context.
type upgradeKey struct{}

func TestTLSUpgradeRefuses(t *testing.T) {
	config, _ := newTLSConfigs(t)
	client, _ := testnet.Pair(t, "tcp")
	_, err := netpoll.TLSServer(nil, config)
	require.ErrorContains(t, err, "nil")
	_, err = netpoll.TLSServer(client, nil)
	require.ErrorContains(t, err, "nil")
	reading := testkit.Blocked(t, func() error { return testkit.ErrorOf(client.Reader().Next(1)) })
	_, err = netpoll.TLSServer(client, config)
	require.ErrorIs(t, err, netpoll.ErrConcurrentAccess)
	require.NoError(t, client.Close())
	require.ErrorIs(t, testkit.Receive(t, reading), netpoll.ErrConnClosed)
	_, err = netpoll.TLSServer(client, config)
	require.ErrorIs(t, err, netpoll.ErrConnClosed)
}
