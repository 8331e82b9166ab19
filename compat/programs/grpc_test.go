package programs

// grpc-go over the library: a connection has many streams. One goroutine reads for all of them, another one writes.

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"
)

// overRPC runs test with and without TLS, with the library on either side and on both.
func overRPC(t *testing.T, test func(t *testing.T, on sides, s *rpc)) {
	for _, secure := range securities {
		t.Run(secure.name, func(t *testing.T) {
			overSides(t, func(t *testing.T, on sides) { test(t, on, startRPC(t, on, secure)) })
		})
	}
}

func TestGRPCCarriesMessagesOfEverySize(t *testing.T) {
	overRPC(t, func(t *testing.T, _ sides, s *rpc) {
		ctx := timeLimit(t)
		for i, size := range []int{0, 1, 16383, 16384, 65535, 3 << 20} {
			require.NoError(t, s.echo(ctx, pattern(i, size)), "%d bytes", size)
		}
		require.EqualValues(t, 1, s.dials.Load())
	})
}

func TestGRPCStreamsEachWay(t *testing.T) {
	overRPC(t, func(t *testing.T, _ sides, s *rpc) {
		ctx := timeLimit(t)
		sizes := []int{0, 1, 70_000, 5, 400_000, 300}

		up, err := s.client.StreamingInputCall(ctx)
		require.NoError(t, err)
		request, sum := new(pb.StreamingOutputCallRequest), 0
		for i := range 24 {
			size := sizes[i%len(sizes)]
			sum += size
			require.NoError(t, up.Send(&pb.StreamingInputCallRequest{Payload: payload(i, size)}))
			request.ResponseParameters = append(request.ResponseParameters, &pb.ResponseParameters{Size: int32(size)})
		}
		answer, err := up.CloseAndRecv()
		require.NoError(t, err)
		require.EqualValues(t, sum, answer.AggregatedPayloadSize)

		down, err := s.client.StreamingOutputCall(ctx, request)
		require.NoError(t, err)
		require.NoError(t, s.echo(ctx, []byte("meanwhile"))) // the test does not read the stream meanwhile
		for i, p := range request.ResponseParameters {
			got, err := down.Recv()
			require.NoError(t, err)
			require.Equal(t, digest(pattern(i, int(p.Size))), digest(got.Payload.GetBody()), "message %d", i)
		}
		_, err = down.Recv()
		require.ErrorIs(t, err, io.EOF)

		require.NoError(t, s.talk(ctx, 1, 1, 100))
		require.NoError(t, s.talk(ctx, 10_000, 4, 10))
	})
}

func TestGRPCCarriesManyCallsAndStreamsAtOnce(t *testing.T) {
	const callers, rounds = 20, 3
	overRPC(t, func(t *testing.T, _ sides, s *rpc) {
		ctx := timeLimit(t)
		var wg sync.WaitGroup
		for caller := range callers {
			wg.Go(func() {
				for i := range rounds {
					err := errors.Join(s.echo(ctx, pattern(caller, 1+i*10_000)), s.talk(ctx, caller*100, 2, 5))
					if err != nil {
						t.Errorf("caller %d, round %d: %v", caller, i, err)
						return
					}
				}
			})
		}
		wg.Wait()
		require.EqualValues(t, 1, s.dials.Load())
	})
}

// hold makes a call and returns when the handler holds it. The channel delivers the call's error.
func (s *rpc) hold(t *testing.T, ctx context.Context) <-chan error {
	t.Helper()
	failed := make(chan error, 1)
	go func() {
		_, err := s.client.UnaryCall(ctx, &pb.SimpleRequest{ResponseStatus: &pb.EchoStatus{Code: codeHold}})
		failed <- err
	}()
	await(t, s.held, "the call")
	return failed
}

func TestGRPCCallEndsWithItsContextOnBothSides(t *testing.T) {
	overRPC(t, func(t *testing.T, _ sides, s *rpc) {
		ctx, cancel := context.WithCancel(timeLimit(t))
		cancelled := s.hold(t, ctx)
		cancel()
		require.Equal(t, codes.Canceled, status.Code(await(t, cancelled, "the call's end")))
		require.ErrorIs(t, await(t, s.ended, "the handler's end"), context.Canceled)

		ctx, cancel = context.WithTimeout(timeLimit(t), 300*time.Millisecond)
		defer cancel()
		late := s.hold(t, ctx)
		require.Equal(t, codes.DeadlineExceeded, status.Code(await(t, late, "the call's end")))
		require.Error(t, await(t, s.ended, "the handler's end")) // by its own timer, or because the client cancelled

		require.NoError(t, s.echo(timeLimit(t), []byte("another call")))
		require.EqualValues(t, 1, s.dials.Load())
	})
}

func TestGRPCHandlerErrorsAndPanicsEndOnlyTheirCall(t *testing.T) {
	overRPC(t, func(t *testing.T, _ sides, s *rpc) {
		ctx := timeLimit(t)
		for wish, want := range map[int32]codes.Code{
			codeBoom:                       codes.Internal,
			int32(codes.NotFound):          codes.NotFound,
			int32(codes.ResourceExhausted): codes.ResourceExhausted,
		} {
			st := &pb.EchoStatus{Code: wish, Message: "as asked"}
			_, err := s.client.UnaryCall(ctx, &pb.SimpleRequest{ResponseStatus: st})
			require.Equal(t, want, status.Code(err))
			stream, err := s.client.FullDuplexCall(ctx)
			require.NoError(t, err)
			require.NoError(t, stream.Send(&pb.StreamingOutputCallRequest{ResponseStatus: st}))
			_, err = stream.Recv()
			require.Equal(t, want, status.Code(err))
			require.NoError(t, s.echo(ctx, []byte("still there")))
		}
		require.ErrorContains(t, s.echo(ctx, make([]byte, largest+1)), "larger than max")
		require.EqualValues(t, 1, s.dials.Load())
	})
}

// Behaviour 5.2: the end of the connection ends the calls under way, on both sides, and the client dials a new one.
func TestGRPCSurvivesTheLossOfItsConnection(t *testing.T) {
	overRPC(t, func(t *testing.T, _ sides, s *rpc) {
		ctx := timeLimit(t)
		var calls []<-chan error
		for range 5 {
			calls = append(calls, s.hold(t, ctx))
		}
		require.NoError(t, (*s.last.Load()).Close())
		for _, failed := range calls {
			require.Equal(t, codes.Unavailable, status.Code(await(t, failed, "the call's end")))
			require.ErrorIs(t, await(t, s.ended, "the handler's end"), context.Canceled)
		}
		require.NoError(t, s.echo(ctx, []byte("over a new connection")))
		require.EqualValues(t, 2, s.dials.Load())
	})
}

func TestGRPCGracefulStopLetsCallsAndStreamsEnd(t *testing.T) {
	overRPC(t, func(t *testing.T, _ sides, s *rpc) {
		ctx := timeLimit(t)
		call := s.hold(t, ctx)
		stream, err := s.client.FullDuplexCall(ctx)
		require.NoError(t, err)
		ping := func() {
			t.Helper()
			require.NoError(t, stream.Send(&pb.StreamingOutputCallRequest{Payload: payload(3, 10_000)}))
			got, err := stream.Recv()
			require.NoError(t, err)
			require.Equal(t, digest(pattern(3, 10_000)), digest(got.Payload.GetBody()))
		}
		ping()
		stopped := make(chan struct{})
		go func() {
			s.server.GracefulStop()
			close(stopped)
		}()
		requireRefused(t, s.addr)
		ping()
		close(s.release)
		require.NoError(t, await(t, call, "the answer"))
		select {
		case <-stopped:
			t.Fatal("GracefulStop did not wait for the stream")
		default:
		}
		ping()
		require.NoError(t, stream.CloseSend())
		_, err = stream.Recv()
		require.ErrorIs(t, err, io.EOF)
		await(t, stopped, "the end of GracefulStop")
		require.NoError(t, await(t, s.served, "the end of Serve"))
		s.served <- nil // the cleanup of the test receives it, too
	})
}

func TestGRPCClientFindsTheSuccessorOfItsServer(t *testing.T) {
	overSides(t, func(t *testing.T, on sides) {
		s := startRPC(t, on, plain)
		ctx := timeLimit(t)
		require.NoError(t, s.echo(ctx, []byte("before")))
		old := s.server
		old.Stop()
		requireRefused(t, s.addr)
		s.serve(t, on, s.addr)
		// A call that the client made before it noticed the end may fail. Later calls wait for a new connection.
		require.NoError(t, retry(2, func() error { return s.echo(ctx, []byte("after")) }))
	})
}
