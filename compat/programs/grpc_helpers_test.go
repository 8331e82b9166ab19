package programs

// A gRPC server and a client of it, with the messages that gRPC's own tests use.

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"
)

// largest is the size of the messages that both sides accept, in bytes.
const largest = 8 << 20

// testService answers with the payload of the request. A request with a status makes it do something else.
type testService struct {
	pb.UnimplementedTestServiceServer
	held    chan struct{} // gets a value for each call that is held
	release chan struct{} // the test closes it when held calls may answer
	ended   chan error    // gets the context's error of each held call that was not released
}

// Special statuses of a request. With any other code the service returns an error of that code.
const (
	codeBoom = 100 + iota // a panic
	codeHold              // an answer when the test closes release
)

func (s *testService) obey(ctx context.Context, wish *pb.EchoStatus) error {
	switch code := wish.GetCode(); code {
	case 0:
		return nil
	case codeBoom:
		panic("boom")
	case codeHold:
		s.held <- struct{}{}
		select {
		case <-s.release:
			return nil
		case <-ctx.Done():
			s.ended <- ctx.Err()
			return ctx.Err()
		}
	default:
		return status.Error(codes.Code(code), wish.GetMessage())
	}
}

func (s *testService) UnaryCall(ctx context.Context, r *pb.SimpleRequest) (*pb.SimpleResponse, error) {
	if err := s.obey(ctx, r.ResponseStatus); err != nil {
		return nil, err
	}
	return &pb.SimpleResponse{Payload: r.Payload}, nil
}

// StreamingOutputCall sends a message for each parameter, of the size that the parameter says.
func (s *testService) StreamingOutputCall(
	r *pb.StreamingOutputCallRequest, stream grpc.ServerStreamingServer[pb.StreamingOutputCallResponse],
) error {
	for i, p := range r.ResponseParameters {
		answer := &pb.StreamingOutputCallResponse{Payload: payload(i, int(p.Size))}
		if err := stream.Send(answer); err != nil {
			return err
		}
	}
	return nil
}

// StreamingInputCall returns the number of bytes that it has received.
func (s *testService) StreamingInputCall(
	stream grpc.ClientStreamingServer[pb.StreamingInputCallRequest, pb.StreamingInputCallResponse],
) error {
	var sum int32
	for i := 0; ; i++ {
		r, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return stream.SendAndClose(&pb.StreamingInputCallResponse{AggregatedPayloadSize: sum})
		}
		if err != nil {
			return err
		}
		body := r.Payload.GetBody()
		if !bytes.Equal(body, pattern(i, len(body))) {
			return status.Errorf(codes.DataLoss, "message %d is not what was sent", i)
		}
		sum += int32(len(body))
	}
}

func (s *testService) FullDuplexCall(
	stream grpc.BidiStreamingServer[pb.StreamingOutputCallRequest, pb.StreamingOutputCallResponse],
) error {
	for {
		r, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = s.obey(stream.Context(), r.ResponseStatus)
		}
		if err == nil {
			err = stream.Send(&pb.StreamingOutputCallResponse{Payload: r.Payload})
		}
		if err != nil {
			return err
		}
	}
}

func payload(seed, n int) *pb.Payload { return &pb.Payload{Body: pattern(seed, n)} }

// rpc is a server under test with its client.
type rpc struct {
	*testService
	addr   string
	server *grpc.Server
	client pb.TestServiceClient
	conn   *grpc.ClientConn
	served chan error               // delivers the result of Serve
	dials  atomic.Int32             // written by the client
	last   atomic.Pointer[net.Conn] // of the last dial
}

// recovered turns a panic into an error. gRPC does not recover from panics itself.
func recovered(err *error) {
	if p := recover(); p != nil {
		*err = status.Error(codes.Internal, fmt.Sprint(p))
	}
}

// security is how a server and a client of gRPC have TLS, if they have.
type security struct {
	name    string
	prepare func(t *testing.T, s *rpc, on *sides) (server, client credentials.TransportCredentials)
}

var plain = security{"plain", func(*testing.T, *rpc, *sides) (server, client credentials.TransportCredentials) {
	return insecure.NewCredentials(), insecure.NewCredentials()
}}

// securities are all of them that the library under test has: the original has no TLS.
var securities = []security{plain, {"TLS", tlsCredentials}}

// tlsCredentials returns those of gRPC, by crypto/tls over the connections.
func tlsCredentials(t *testing.T, _ *rpc, _ *sides) (server, client credentials.TransportCredentials) {
	config, trust, _ := certificate(t)
	config.NextProtos = []string{"h2"}
	return credentials.NewTLS(config), credentials.NewTLS(&tls.Config{RootCAs: trust})
}

// startRPC serves on a free loopback port until the test ends.
func startRPC(t *testing.T, on sides, secure security) *rpc {
	t.Helper()
	s := &rpc{testService: &testService{
		held: make(chan struct{}, 64), release: make(chan struct{}), ended: make(chan error, 64),
	}}
	serverCreds, clientCreds := secure.prepare(t, s, &on)
	s.serve(t, on, "127.0.0.1:0", grpc.Creds(serverCreds))
	conn, err := grpc.NewClient("passthrough:///"+s.addr,
		grpc.WithTransportCredentials(clientCreds),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			conn, err := on.dial(ctx, "tcp", addr)
			if err == nil {
				s.dials.Add(1)
				s.last.Store(&conn)
			}
			return conn, err
		}),
		grpc.WithDefaultCallOptions(
			grpc.MaxCallRecvMsgSize(largest), grpc.MaxCallSendMsgSize(largest), grpc.WaitForReady(true)))
	require.NoError(t, err)
	s.conn, s.client = conn, pb.NewTestServiceClient(conn)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	return s
}

// serve starts a server. A test may start another after it has stopped the first.
func (s *rpc) serve(t *testing.T, on sides, address string, opts ...grpc.ServerOption) {
	ln := on.listenOn(t, address)
	s.addr = ln.Addr().String()
	s.server = grpc.NewServer(append(opts,
		grpc.MaxRecvMsgSize(largest), grpc.MaxSendMsgSize(largest),
		grpc.UnaryInterceptor(func(
			ctx context.Context, r any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler,
		) (_ any, err error) {
			defer recovered(&err)
			return next(ctx, r)
		}),
		grpc.StreamInterceptor(func(
			srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler,
		) (err error) {
			defer recovered(&err)
			return next(srv, stream)
		}))...)
	pb.RegisterTestServiceServer(s.server, s.testService)
	served, server := make(chan error, 1), s.server
	s.served = served
	go func() { served <- server.Serve(ln) }()
	t.Cleanup(func() {
		server.Stop()
		require.NoError(t, await(t, served, "the end of Serve"))
	})
}

// echo calls once and fails if anything else comes back.
func (s *rpc) echo(ctx context.Context, body []byte, opts ...grpc.CallOption) error {
	got, err := s.client.UnaryCall(ctx, &pb.SimpleRequest{Payload: &pb.Payload{Body: body}}, opts...)
	if err == nil && !bytes.Equal(body, got.Payload.GetBody()) {
		err = errors.New("the answer differs from what was sent")
	}
	return err
}

// talk opens a stream. In each of rounds rounds it sends n messages and then receives the n answers.
func (s *rpc) talk(ctx context.Context, size, n, rounds int) error {
	stream, err := s.client.FullDuplexCall(ctx)
	if err != nil {
		return err
	}
	for round := range rounds {
		for i := range n {
			if err := stream.Send(&pb.StreamingOutputCallRequest{Payload: payload(round+i, size)}); err != nil {
				return fmt.Errorf("send %d of round %d: %w", i, round, err)
			}
		}
		for i := range n {
			got, err := stream.Recv()
			if err != nil {
				return fmt.Errorf("receive %d of round %d: %w", i, round, err)
			}
			if !bytes.Equal(got.Payload.GetBody(), pattern(round+i, size)) {
				return fmt.Errorf("answer %d of round %d differs", i, round)
			}
		}
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("after the end: %w", err)
	}
	return nil
}
