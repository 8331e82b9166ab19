package compat

// A Kitex server and client without generated code: generic calls, with JSON at both ends and Thrift on the wire.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/client/genericclient"
	"github.com/cloudwego/kitex/pkg/connpool"
	"github.com/cloudwego/kitex/pkg/generic"
	"github.com/cloudwego/kitex/server"
	"github.com/cloudwego/kitex/server/genericserver"
	"github.com/cloudwego/kitex/transport"
	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll"
)

// transportKind is one way in which Kitex uses connections.
type transportKind struct {
	name   string
	client []client.Option
	server []server.Option
	layer  layer // below it
}

// muxConnections is how many connections the multiplexed transport shares.
const muxConnections = 2

var (
	short = transportKind{name: "short", client: []client.Option{client.WithShortConnection()}}
	long  = transportKind{
		name:   "long",
		client: []client.Option{client.WithLongConnection(connpool.IdleConfig{MaxIdlePerAddress: 64, MaxIdleGlobal: 64})},
	}
	longTTHeader = transportKind{
		name:   "long, TTHeader",
		client: append([]client.Option{client.WithTransportProtocol(transport.TTHeader)}, long.client...),
	}
	mux = transportKind{
		name: "mux",
		client: []client.Option{
			client.WithTransportProtocol(transport.TTHeader),
			client.WithMuxConnection(muxConnections),
		},
		server: []server.Option{server.WithMuxTransport()},
	}

	transports = []transportKind{short, long, longTTHeader, mux}
)

// forEachTransport runs test once for each way in which Kitex uses connections.
func forEachTransport(t *testing.T, test func(t *testing.T, kind transportKind)) {
	onTransports(t, transports, test)
}

// onTransports is forEachTransport for the given kinds only.
func onTransports(t *testing.T, kinds []transportKind, test func(t *testing.T, kind transportKind)) {
	for _, layer := range layers() {
		for _, kind := range kinds {
			kind.layer = layer
			t.Run(nameOver(kind.name, layer), func(t *testing.T) { test(t, kind) })
		}
	}
}

// message is the JSON form of both Request and Response of testdata/echo.thrift.
type message struct {
	Message string `json:"message"`
}

// echoService is the handler of the methods in testdata/echo.thrift.
type echoService struct {
	held    chan struct{} // gets a value for each call of Hold that has begun
	release chan struct{} // the test closes it when Hold may return
}

func newEchoService() *echoService {
	return &echoService{held: make(chan struct{}, 16), release: make(chan struct{})}
}

// GenericCall handles a call. Kitex gives it the JSON of the request and sends the JSON that it returns.
func (s *echoService) GenericCall(_ context.Context, method string, request any) (response any, err error) {
	switch method {
	case "Boom":
		panic("boom")
	case "Hold":
		s.held <- struct{}{}
		<-s.release
	}
	var m message
	if err := json.Unmarshal([]byte(request.(string)), &m); err != nil {
		return nil, fmt.Errorf("decode the request: %w", err)
	}
	out, err := json.Marshal(m)
	return string(out), err
}

// kitexServer is a running server.
type kitexServer struct {
	server.Server
	*echoService
	addr net.Addr
	ran  chan error // delivers the result of Run
}

// newGeneric reads the description of the service.
func newGeneric(t testing.TB) generic.Generic {
	t.Helper()
	provider, err := generic.NewThriftFileProvider("testdata/echo.thrift")
	require.NoError(t, err)
	g, err := generic.JSONThriftGeneric(provider)
	require.NoError(t, err)
	return g
}

// startKitex serves on a free loopback port for network "tcp", or on a new socket file for "unix", until the test ends.
func startKitex(t *testing.T, network string, kind transportKind, opts ...server.Option) *kitexServer {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "kitex.sock")
	}
	return startKitexOn(t, network, address, kind, opts...)
}

// startKitexOn is startKitex on an address that the caller chooses.
func startKitexOn(t *testing.T, network, address string, kind transportKind, opts ...server.Option) *kitexServer {
	t.Helper()
	ln, err := net.Listen(network, address)
	require.NoError(t, err)
	return serveKitex(t, ln, kind, opts...)
}

// serveKitex serves on ln until the test ends.
func serveKitex(t testing.TB, ln net.Listener, kind transportKind, opts ...server.Option) *kitexServer {
	t.Helper()
	s := &kitexServer{echoService: newEchoService(), addr: ln.Addr(), ran: make(chan error, 1)}
	if kind.layer != nil {
		ln = kind.layer.listener(ln)
	}
	opts = append([]server.Option{
		server.WithListener(ln),
		server.WithExitWaitTime(patience),
		server.WithExitSignal(func() <-chan error { return nil }), // only Stop ends the server
	}, append(opts, kind.server...)...)
	s.Server = genericserver.NewServer(s.echoService, newGeneric(t), opts...)
	go func() { s.ran <- s.Run() }()
	t.Cleanup(func() { require.NoError(t, s.Stop()) })
	return s
}

// kitexDialer dials with the library and counts.
type kitexDialer struct {
	netpoll.Dialer
	dials atomic.Int32 // successful dials; written by the client
	last  atomic.Value // the net.Conn of the last one
}

func (d *kitexDialer) DialTimeout(network, address string, timeout time.Duration) (net.Conn, error) {
	conn, err := d.Dialer.DialTimeout(network, address, timeout)
	if err == nil {
		d.dials.Add(1)
		d.last.Store(conn)
	}
	return conn, err
}

// newKitexClient returns a client of the server at addr and the dialer that it uses. The client is closed at the end of
// the test, before the server.
func newKitexClient(
	t *testing.T, addr net.Addr, kind transportKind, opts ...client.Option,
) (genericclient.Client, *kitexDialer) {
	t.Helper()
	d := &kitexDialer{Dialer: netpoll.NewDialer()}
	if kind.layer != nil {
		d.Dialer = kind.layer.dialer()
	}
	opts = append([]client.Option{
		client.WithHostPorts(addr.String()),
		client.WithDialer(d),
		client.WithConnectTimeout(patience),
	}, append(opts, kind.client...)...)
	c, err := genericclient.NewClient("echo", newGeneric(t), opts...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c, d
}

// call sends text to method and returns the text of the response.
func call(c genericclient.Client, method, text string) (string, error) {
	request, err := json.Marshal(message{text})
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	response, err := c.GenericCall(ctx, method, string(request))
	if err != nil {
		return "", err
	}
	var m message
	err = json.Unmarshal([]byte(response.(string)), &m)
	return m.Message, err
}

// echo calls Echo and fails if anything but text comes back.
func echo(c genericclient.Client, text string) error {
	got, err := call(c, "Echo", text)
	if err == nil && got != text {
		err = errors.New("the echo differs from what was sent")
	}
	return err
}
