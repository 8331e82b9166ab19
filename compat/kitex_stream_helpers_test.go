package compat

// A Kitex server and clients of streams: generic calls with JSON at both ends. They go over HTTP/2, as in gRPC, and over
// Kitex's own protocol, TTHeader, with each of its connection pools. Between client and server is a line, a proxy that a
// test can cut.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/client/genericclient"
	"github.com/cloudwego/kitex/pkg/generic"
	"github.com/cloudwego/kitex/pkg/remote/trans/ttstream"
	"github.com/cloudwego/kitex/server"
	"github.com/cloudwego/kitex/server/genericserver"
	"github.com/cloudwego/kitex/transport"
	"github.com/stretchr/testify/require"
)

// streamKind is one way in which Kitex carries streams.
type streamKind struct {
	name   string
	client []client.Option
	layer  layer // below it
}

var (
	grpcStreams = streamKind{name: "gRPC", client: []client.Option{client.WithTransportProtocol(transport.GRPCStreaming)}}
	// With mux, streams share connections. With long, a stream has one and returns it to the pool. With short, a stream
	// has one that is closed after it.
	muxStreams = ttStreams("TTHeader, mux",
		ttstream.WithClientMuxConnPool(ttstream.MuxConnConfig{PoolSize: muxConnections, MaxIdleTimeout: time.Minute}))
	longStreams = ttStreams("TTHeader, long",
		ttstream.WithClientLongConnPool(ttstream.LongConnConfig{MaxIdleTimeout: time.Minute}))
	shortStreams = ttStreams("TTHeader, short", ttstream.WithClientShortConnPool())
)

func ttStreams(name string, pool ttstream.ClientHandlerOption) streamKind {
	return streamKind{name: name, client: []client.Option{
		client.WithTransportProtocol(transport.TTHeaderStreaming),
		client.WithTTHeaderStreamingOptions(client.WithTTHeaderStreamingTransportOptions(pool)),
	}}
}

// overStreams runs test once for each way in which Kitex carries streams.
func overStreams(t *testing.T, test func(t *testing.T, kind streamKind)) {
	for _, layer := range layers() {
		for _, kind := range []streamKind{grpcStreams, muxStreams, longStreams, shortStreams} {
			kind.layer = layer
			t.Run(nameOver(kind.name, layer), func(t *testing.T) { test(t, kind) })
		}
	}
}

// streamService is the handler of the methods in testdata/stream.thrift.
type streamService struct {
	held    chan struct{} // gets a value for each Hold that has begun
	release chan struct{} // the test closes it when Hold may return
	ended   chan error    // gets the error that ended each Hold that was not released
}

// receiver and sender are the two halves of a Kitex stream, on the client and on the server.
type (
	receiver interface {
		Recv(ctx context.Context) (any, error)
	}
	sender interface {
		Send(ctx context.Context, message any) error
	}
)

func send(ctx context.Context, s sender, text string) error {
	p, err := json.Marshal(message{text})
	if err != nil {
		return err
	}
	return s.Send(ctx, string(p))
}

func recv(ctx context.Context, r receiver) (string, error) {
	p, err := r.Recv(ctx)
	if err != nil {
		return "", err
	}
	return decode(p)
}

func decode(p any) (string, error) {
	var m message
	err := json.Unmarshal([]byte(p.(string)), &m)
	return m.Message, err
}

// ends returns nil for io.EOF, the normal end of a stream, and err otherwise.
func ends(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func (s *streamService) join(ctx context.Context, _, _ string, stream generic.ClientStreamingServer) error {
	var all strings.Builder
	for {
		text, err := recv(ctx, stream)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		all.WriteString(text)
	}
	p, err := json.Marshal(message{all.String()})
	if err != nil {
		return err
	}
	return stream.SendAndClose(ctx, string(p))
}

func (s *streamService) repeat(
	ctx context.Context, _, _ string, request any, stream generic.ServerStreamingServer,
) error {
	text, err := decode(request)
	if err != nil {
		return err
	}
	count, text, _ := strings.Cut(text, ":")
	n, err := strconv.Atoi(count)
	for i := 0; i < n && err == nil; i++ {
		err = send(ctx, stream, strconv.Itoa(i)+text)
	}
	return err
}

func (s *streamService) talk(ctx context.Context, _, method string, stream generic.BidiStreamingServer) error {
	for {
		text, err := recv(ctx, stream)
		if err != nil {
			return ends(err)
		}
		switch method {
		case "Boom":
			panic("boom")
		case "Hold":
			return s.hold(ctx, stream, text)
		}
		if err := send(ctx, stream, text); err != nil {
			return err
		}
	}
}

// hold answers, waits until the stream ends or the test releases it, and then answers again. It answers first because of
// Kitex's client: if the first answer to a stream arrives just after the client has cancelled it, the client may close
// the connection with all its streams.
func (s *streamService) hold(ctx context.Context, stream generic.BidiStreamingServer, text string) error {
	if err := send(ctx, stream, text); err != nil {
		return err
	}
	s.held <- struct{}{}
	select {
	case <-s.release:
		return send(ctx, stream, text)
	case <-ctx.Done():
		s.ended <- context.Cause(ctx)
		return ctx.Err()
	case <-time.After(patience):
		return errors.New("neither released nor ended")
	}
}

// streamServer is a running server of streams.
type streamServer struct {
	server.Server
	*streamService
	addr net.Addr
	ran  chan error // delivers the result of Run
	stop func() error
}

// newStreamGeneric reads the description of the service.
func newStreamGeneric(t *testing.T) generic.Generic {
	t.Helper()
	provider, err := generic.NewThriftFileProvider("testdata/stream.thrift")
	require.NoError(t, err)
	g, err := generic.JSONThriftGeneric(provider)
	require.NoError(t, err)
	return g
}

// startStreams serves for clients of that kind, on a free loopback port until the test ends. Kitex's protocol has no notice that a server stops,
// so clients keep their connections open, and the server would wait for them for its full exit wait time.
func startStreams(t *testing.T, kind streamKind) *streamServer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	if kind.layer != nil {
		ln = kind.layer.listener(ln)
	}
	s := &streamServer{
		streamService: &streamService{
			held: make(chan struct{}, 64), release: make(chan struct{}), ended: make(chan error, 64),
		},
		addr: ln.Addr(),
		ran:  make(chan error, 1),
	}
	s.Server = genericserver.NewServerV2(&generic.ServiceV2{
		ClientStreaming: s.join,
		ServerStreaming: s.repeat,
		BidiStreaming:   s.talk,
	}, newStreamGeneric(t),
		server.WithListener(ln),
		server.WithExitWaitTime(patience),
		server.WithExitSignal(func() <-chan error { return nil }))
	go func() { s.ran <- s.Run() }()
	s.stop = sync.OnceValue(func() error { return errors.Join(s.Stop(), <-s.ran) })
	t.Cleanup(func() { require.NoError(t, s.stop()) })
	return s
}

// newStreamClient returns a client of the server at addr. The client never closes some of its connections. The line to
// the server closes them at the end of the test.
func newStreamClient(t *testing.T, s *streamServer, kind streamKind) (genericclient.Client, *line) {
	t.Helper()
	var peer func(net.Conn) net.Conn
	if kind.layer != nil && kind.name != grpcStreams.name {
		peer = kind.layer.peer // a client of TTHeader streams always dials with its own dialer, which has no TLS
	}
	l := newLine(t, s.addr, peer)
	opts := append([]client.Option{client.WithHostPorts(l.addr().String())}, kind.client...)
	if kind.layer != nil && peer == nil {
		opts = append(opts, client.WithDialer(kind.layer.dialer()))
	}
	c, err := genericclient.NewClient("stream", newStreamGeneric(t), opts...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c, l
}

// line is a proxy to a server, of package net on both sides. The test can cut its connections.
type line struct {
	ln   net.Listener
	to   net.Addr
	peer func(net.Conn) net.Conn // if it is not nil, it adds TLS to a connection with the server

	mu     sync.Mutex // guards the fields below; no connection is added once closed is set
	conns  []net.Conn
	count  int
	closed bool
}

func newLine(t *testing.T, to net.Addr, peer func(net.Conn) net.Conn) *line {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := &line{ln: ln, to: to, peer: peer}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			running.Go(func() { l.carry(conn) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		l.end()
		running.Wait()
	})
	return l
}

func (l *line) addr() net.Addr { return l.ln.Addr() }

// carry copies in both directions until one of the sides ends.
func (l *line) carry(near net.Conn) {
	defer near.Close()
	far, err := net.Dial(l.to.Network(), l.to.String())
	if err != nil {
		return
	}
	if l.peer != nil {
		far = l.peer(far)
	}
	defer far.Close()
	if !l.add(near, far) {
		return
	}
	var both sync.WaitGroup
	both.Go(func() {
		_, _ = io.Copy(far, near)
		_ = far.Close()
	})
	both.Go(func() {
		_, _ = io.Copy(near, far)
		_ = near.Close()
	})
	both.Wait()
}

func (l *line) add(near, far net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.conns = append(l.conns, near, far)
	l.count++
	return true
}

// cut closes all connections. The line still accepts new ones.
func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, conn := range l.conns {
		_ = conn.Close()
	}
	l.conns = nil
}

// end cuts the line, which accepts no new connections from then on.
func (l *line) end() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.cut()
}

// carried returns how many connections the line has had so far.
func (l *line) carried() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}

// talk opens a stream, sends text n times, and waits for the answer each time.
func talk(c genericclient.Client, text string, n int) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	stream, err := c.BidirectionalStreaming(ctx, "Echo")
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	for i := range n {
		want := strconv.Itoa(i) + text
		if err := send(ctx, stream, want); err != nil {
			return fmt.Errorf("send %d: %w", i, err)
		}
		got, err := recv(ctx, stream)
		if err != nil {
			return fmt.Errorf("receive %d: %w", i, err)
		}
		if got != want {
			return fmt.Errorf("answer %d differs from what was sent", i)
		}
	}
	if err := stream.CloseSend(ctx); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	if _, err := recv(ctx, stream); !errors.Is(err, io.EOF) {
		return fmt.Errorf("after the end: %w", err)
	}
	return nil
}

// request is the JSON of a message.
func request(text string) string {
	p, _ := json.Marshal(message{text}) // cannot fail
	return string(p)
}
