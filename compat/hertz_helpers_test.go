package compat

// A Hertz server and client on a loopback or Unix address, with counts of the connections on both sides.

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudwego/hertz/pkg/app/client"
	"github.com/cloudwego/hertz/pkg/app/server"
	"github.com/cloudwego/hertz/pkg/common/config"
	"github.com/cloudwego/hertz/pkg/network"
	hertznetpoll "github.com/cloudwego/hertz/pkg/network/netpoll"
	"github.com/cloudwego/hertz/pkg/protocol"
	"github.com/stretchr/testify/require"
)

// hertzServer is a running server.
type hertzServer struct {
	*server.Hertz
	addr     net.Addr
	layer    layer        // below it
	accepted atomic.Int32 // connections accepted so far; written by the server
	ran      chan error   // delivers the result of Run
}

// overNetworks runs test over the networks that startHertz knows.
func overNetworks(t *testing.T, test func(t *testing.T, network string)) {
	networks := []string{"tcp", "unix"}
	if overTLS != nil {
		networks = append(networks, "TLS")
	}
	for _, network := range networks {
		t.Run(network, func(t *testing.T) { test(t, network) })
	}
}

// startHertz serves on a free loopback port for network "tcp", or on a new socket file for "unix", until the test ends;
// "TLS" is TLS over "tcp". Connections are possible when it returns.
func startHertz(t *testing.T, network string, routes func(h *server.Hertz), opts ...config.Option) *hertzServer {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "hertz.sock")
	}
	return startHertzOn(t, network, address, routes, opts...)
}

// startHertzOn is startHertz on an address that the caller chooses.
func startHertzOn(
	t *testing.T, network, address string, routes func(h *server.Hertz), opts ...config.Option,
) *hertzServer {
	t.Helper()
	s := &hertzServer{ran: make(chan error, 1)}
	if network == "TLS" {
		s.layer, network = overTLS, "tcp"
	}
	var listen config.Option
	if network == "unix" {
		// Hertz removes the socket file of a listener that it is given, so it has to make the listener itself.
		s.addr = &net.UnixAddr{Net: network, Name: address}
		listen = server.WithHostPorts(address)
	} else {
		ln, err := net.Listen(network, address)
		require.NoError(t, err)
		s.addr = ln.Addr()
		if s.layer != nil {
			ln = s.layer.listener(ln)
		}
		listen = server.WithListener(ln)
	}
	opts = append([]config.Option{
		listen,
		server.WithNetwork(network),
		server.WithExitWaitTime(patience),
		server.WithReadTimeout(patience),
		server.WithWriteTimeout(patience),
		server.WithDisablePrintRoute(true),
		server.WithOnAccept(func(net.Conn) context.Context {
			s.accepted.Add(1)
			return context.Background()
		}),
	}, opts...)
	s.Hertz = server.New(opts...)
	routes(s.Hertz)
	go func() { s.ran <- s.Run() }()
	requireListening(t, s)
	t.Cleanup(func() {
		// The test may have shut it down itself.
		if s.IsRunning() {
			s.shutdown(t)
		}
	})
	return s
}

// requireListening waits until s runs and its address accepts. Hertz has no event for that: its hooks run before it
// listens. A listener that it is given accepts even before Run, which then serves these connections.
func requireListening(t *testing.T, s *hertzServer) {
	t.Helper()
	require.Eventually(t, func() bool {
		if s.addr.Network() == "unix" {
			_, err := os.Stat(s.addr.String())
			return err == nil && s.IsRunning()
		}
		return s.IsRunning()
	}, patience, time.Millisecond, "the server did not start")
}

// shutdown stops the server and requires Shutdown and Run to succeed.
func (s *hertzServer) shutdown(t *testing.T) {
	t.Helper()
	require.NoError(t, s.Shutdown(context.Background()))
	require.NoError(t, await(t, s.ran, "the end of Run"))
}

// url is the address of path on the server; over a Unix socket the host is only a name.
func (s *hertzServer) url(path string) string {
	if s.addr.Network() == "unix" {
		return "http://unix" + path
	}
	if s.layer != nil {
		return "https://" + s.addr.String() + path
	}
	return "http://" + s.addr.String() + path
}

// hertzDialer dials one fixed address with the library, and counts.
type hertzDialer struct {
	network.Dialer
	to    net.Addr
	layer layer        // below its connections
	dials atomic.Int32 // successful dials; written by the client
	last  atomic.Value // the network.Conn of the last one
}

func (d *hertzDialer) DialConnection(_, _ string, timeout time.Duration, cfg *tls.Config) (network.Conn, error) {
	conn, err := d.dial(timeout, cfg)
	if err == nil {
		d.dials.Add(1)
		d.last.Store(conn)
	}
	return conn, err
}

// dial makes TLS connections by itself, because Hertz's own dialer knows none.
func (d *hertzDialer) dial(timeout time.Duration, cfg *tls.Config) (network.Conn, error) {
	if d.layer == nil {
		return d.Dialer.DialConnection(d.to.Network(), d.to.String(), timeout, cfg)
	}
	conn, err := d.layer.dialer().DialConnection(d.to.Network(), d.to.String(), timeout)
	if err != nil {
		return nil, err
	}
	return &hertznetpoll.Conn{Conn: conn.(network.Conn)}, nil
}

// newHertzClient returns a client of s and the dialer that it uses. Its idle connections are closed with the test.
func newHertzClient(t *testing.T, s *hertzServer, opts ...config.ClientOption) (*client.Client, *hertzDialer) {
	t.Helper()
	d := &hertzDialer{Dialer: hertznetpoll.NewDialer(), to: s.addr, layer: s.layer}
	opts = append([]config.ClientOption{
		client.WithDialer(d),
		client.WithDialTimeout(patience),
		client.WithClientReadTimeout(patience),
		client.WithWriteTimeout(patience),
	}, opts...)
	c, err := client.NewClient(opts...)
	require.NoError(t, err)
	t.Cleanup(c.CloseIdleConnections)
	return c, d
}

// roundTrip sends body with method and returns the status and a copy of the response's body. If a round trip takes too
// long, that is an error even if it succeeds.
func roundTrip(
	c *client.Client, method, url string, body []byte, change ...func(*protocol.Request),
) (int, string, error) {
	req, resp := protocol.AcquireRequest(), protocol.AcquireResponse()
	defer protocol.ReleaseRequest(req)
	defer protocol.ReleaseResponse(resp)
	req.SetMethod(method)
	req.SetRequestURI(url)
	req.SetBody(body)
	for _, f := range change {
		f(req)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	begin := time.Now()
	if err := c.Do(ctx, req, resp); err != nil {
		return 0, "", err
	}
	if took := time.Since(begin); took > patience/2 {
		return 0, "", fmt.Errorf("the round trip took %v", took)
	}
	return resp.StatusCode(), string(resp.Body()), nil
}
