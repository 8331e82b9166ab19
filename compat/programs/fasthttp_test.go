package programs

// fasthttp over the library. It reads and writes through buffers of its own, sets a deadline before each read and write,
// and closes idle connections while a goroutine reads from them.

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"
)

// fastSite is a server under test with its client.
type fastSite struct {
	addr   string
	url    string
	server *fasthttp.Server
	client *fasthttp.Client
	served chan error // delivers the result of Serve
	conns  atomic.Int32
	dials  atomic.Int32
	stop   func() error
}

// startFast serves on a free loopback port until the test ends. A test can change the settings with change.
func startFast(t *testing.T, on sides, h fasthttp.RequestHandler, change ...func(*fastSite)) *fastSite {
	t.Helper()
	return startFastOn(t, on, "127.0.0.1:0", h, change...)
}

// startFastOn is startFast on an address that the caller chooses.
func startFastOn(
	t *testing.T, on sides, address string, h fasthttp.RequestHandler, change ...func(*fastSite),
) *fastSite {
	t.Helper()
	ln := on.listenOn(t, address)
	s := &fastSite{addr: ln.Addr().String(), url: "http://" + ln.Addr().String(), served: make(chan error, 1)}
	s.server = &fasthttp.Server{
		Handler: recovering(h), Logger: silence{}, ReadTimeout: patience, WriteTimeout: patience,
		MaxRequestBodySize: 64 << 20, CloseOnShutdown: true,
		ConnState: func(_ net.Conn, state fasthttp.ConnState) {
			if state == fasthttp.StateNew {
				s.conns.Add(1)
			}
		},
	}
	s.client = &fasthttp.Client{
		ReadTimeout: patience, WriteTimeout: patience,
		Dial: func(addr string) (net.Conn, error) {
			s.dials.Add(1)
			return on.dial(context.Background(), "tcp", addr)
		},
	}
	for _, f := range change {
		f(s)
	}
	go func() { s.served <- s.server.Serve(ln) }()
	s.stop = sync.OnceValue(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		err := s.server.ShutdownWithContext(ctx)
		if err != nil {
			err = fmt.Errorf("%w: %d connections are open\n%s", err, s.server.GetOpenConnectionsCount(), stacks())
		}
		return errors.Join(err, <-s.served)
	})
	t.Cleanup(func() {
		s.client.CloseIdleConnections()
		require.NoError(t, s.stop())
	})
	return s
}

type silence struct{}

func (silence) Printf(string, ...any) {}

// recovering answers with an error when h panics. fasthttp does not recover from panics itself.
func recovering(h fasthttp.RequestHandler) fasthttp.RequestHandler {
	return func(ctx *fasthttp.RequestCtx) {
		defer func() {
			if p := recover(); p != nil {
				ctx.Error(fmt.Sprint(p), fasthttp.StatusInternalServerError)
			}
		}()
		h(ctx)
	}
}

func fastEcho(ctx *fasthttp.RequestCtx) {
	if ctx.IsGet() {
		ctx.SetBodyString(ctx.RemoteAddr().String())
		return
	}
	ctx.SetBody(ctx.PostBody())
}

// do sends body and returns the status and a copy of the body of the answer.
func (s *fastSite) do(method, path string, body []byte) (int, []byte, error) {
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(resp)
	req.Header.SetMethod(method)
	req.SetRequestURI(s.url + path)
	req.SetBody(body)
	err := s.client.Do(req, resp)
	return resp.StatusCode(), bytes.Clone(resp.Body()), err
}

// echo posts body and fails if anything else comes back.
func (s *fastSite) echo(body []byte) error {
	code, got, err := s.do("POST", "/", body)
	if err == nil && (code != fasthttp.StatusOK || !bytes.Equal(got, body)) {
		err = errors.New("the answer differs from what was sent: " + digest(got) + " for " + digest(body))
	}
	return err
}

func TestFastHTTPServesBodiesOfEverySizeOverOneConnection(t *testing.T) {
	overSides(t, func(t *testing.T, on sides) {
		s := startFast(t, on, fastEcho)
		for i, size := range []int{0, 1, 4095, 4096, 4097, 64 << 10, 3<<20 + 7} {
			require.NoError(t, s.echo(pattern(i, size)), "%d bytes", size)
		}
		require.EqualValues(t, 1, s.conns.Load())
	})
}

func TestFastHTTPServesManyRequestsAtOnce(t *testing.T) {
	const callers, requests = 16, 10
	overSides(t, func(t *testing.T, on sides) {
		s := startFast(t, on, fastEcho)
		var wg sync.WaitGroup
		for caller := range callers {
			wg.Go(func() {
				for i := range requests {
					if err := s.echo(pattern(caller, 1+i*4_000)); err != nil {
						t.Errorf("caller %d, request %d: %v", caller, i, err)
						return
					}
				}
			})
		}
		wg.Wait()
		require.LessOrEqual(t, s.conns.Load(), int32(callers))
	})
}

func TestFastHTTPStreamsBodiesBothWays(t *testing.T) {
	const size = 3 << 20
	overSides(t, func(t *testing.T, on sides) {
		sums := make(chan string, 1)
		s := startFast(t, on, func(ctx *fasthttp.RequestCtx) {
			sum, err := digestOf(ctx.RequestBodyStream())
			if err != nil {
				sum = err.Error()
			}
			sums <- sum
			ctx.SetBodyStreamWriter(func(w *bufio.Writer) {
				for p := pattern(2, size); len(p) > 0; p = p[min(len(p), 100_000):] {
					_, _ = w.Write(p[:min(len(p), 100_000)])
					_ = w.Flush()
				}
			})
		}, func(s *fastSite) {
			s.server.StreamRequestBody = true
			s.client.StreamResponseBody = true
		})
		req, resp := new(fasthttp.Request), new(fasthttp.Response)
		req.Header.SetMethod("POST")
		req.SetRequestURI(s.url)
		req.SetBodyStream(bytes.NewReader(pattern(1, size)), -1)
		require.NoError(t, s.client.Do(req, resp))
		require.Equal(t, digest(pattern(1, size)), await(t, sums, "the request's body"))
		got, err := digestOf(resp.BodyStream())
		require.NoError(t, err)
		require.NoError(t, resp.CloseBodyStream())
		require.Equal(t, digest(pattern(2, size)), got)
	})
}

func TestFastHTTPAnswersPipelinedRequestsInOrder(t *testing.T) {
	const callers, requests = 20, 10
	overSides(t, func(t *testing.T, on sides) {
		s := startFast(t, on, fastEcho)
		c := &fasthttp.PipelineClient{
			Addr: s.addr, MaxConns: 1, MaxPendingRequests: callers, Logger: silence{}, Dial: s.client.Dial,
			MaxIdleConnDuration: 100 * time.Millisecond, // otherwise the client's goroutines do not end
		}
		var wg sync.WaitGroup
		for caller := range callers {
			wg.Go(func() {
				for i := range requests {
					req, resp := new(fasthttp.Request), new(fasthttp.Response)
					req.Header.SetMethod("POST")
					req.SetRequestURI(s.url)
					want := fmt.Appendf(nil, "request %d of %d", i, caller)
					req.SetBody(want)
					err := c.DoTimeout(req, resp, patience)
					if err != nil || !bytes.Equal(want, resp.Body()) {
						t.Errorf("%s: got %q, %v", want, resp.Body(), err)
						return
					}
				}
			})
		}
		wg.Wait()
		require.EqualValues(t, 1, s.conns.Load())
	})
}

// Behaviour 3.7: a read timeout ends the call, and its connection is not used again.
func TestFastHTTPClientTimesOut(t *testing.T) {
	overSides(t, func(t *testing.T, on sides) {
		held := make(chan struct{})
		release := sync.OnceFunc(func() { close(held) })
		s := startFast(t, on, func(ctx *fasthttp.RequestCtx) {
			if string(ctx.Path()) == "/hold" {
				<-held
			}
			fastEcho(ctx)
		}, func(s *fastSite) { s.client.ReadTimeout = 300 * time.Millisecond })
		t.Cleanup(release) // runs before the cleanup of the server
		_, _, err := s.do("POST", "/hold", []byte("late"))
		require.ErrorIs(t, err, fasthttp.ErrTimeout)
		release()
		s.client.ReadTimeout = patience
		for i := range 5 {
			require.NoError(t, s.echo(pattern(i, 100)))
		}
	})
}

// Behaviour 3.8: the server's deadlines close connections on which no request, or only a part of one, arrives.
func TestFastHTTPServerClosesSilentConnections(t *testing.T) {
	for name, sent := range map[string]string{
		"between requests": "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
		"in a request":     "GET / HTTP/1.1\r\nHos",
	} {
		t.Run(name, func(t *testing.T) {
			s := startFast(t, sides{server: true}, fastEcho, func(s *fastSite) {
				s.server.ReadTimeout, s.server.IdleTimeout = 50*time.Millisecond, 50*time.Millisecond
			})
			conn := rawDial(t, s.addr)
			_, err := io.WriteString(conn, sent)
			require.NoError(t, err)
			_, err = io.Copy(io.Discard, conn)
			require.NoError(t, err, "the server closes in order")
		})
	}
}

func TestFastHTTPShutdownWaitsForARunningRequest(t *testing.T) {
	overSides(t, func(t *testing.T, on sides) {
		entered, release := make(chan struct{}), make(chan struct{})
		s := startFast(t, on, func(ctx *fasthttp.RequestCtx) {
			if string(ctx.Path()) == "/hold" {
				close(entered)
				<-release
			}
			fastEcho(ctx)
		})
		require.NoError(t, s.echo([]byte("leaves an idle connection")))
		idle := rawDial(t, s.addr)
		_, err := io.WriteString(idle, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		require.NoError(t, err)
		answer, stopped := make(chan error, 1), make(chan error, 1)
		go func() {
			_, got, err := s.do("POST", "/hold", []byte("held"))
			if err == nil && string(got) != "held" {
				err = fmt.Errorf("got %q", got)
			}
			answer <- err
		}()
		await(t, entered, "the request")
		go func() { stopped <- s.stop() }()
		requireRefused(t, s.addr)
		_, err = io.Copy(io.Discard, idle)
		require.NoError(t, err, "an idle connection is closed")
		require.Empty(t, stopped, "Shutdown did not wait")
		close(release)
		require.NoError(t, await(t, answer, "the answer"))
		require.NoError(t, await(t, stopped, "the end of Shutdown"))

		startFastOn(t, on, s.addr, fastEcho)
		require.NoError(t, s.echo([]byte("the next server")))
	})
}

func TestFastHTTPSurvivesPanicsAndClientsThatGoAway(t *testing.T) {
	overSides(t, func(t *testing.T, on sides) {
		cut := make(chan int64, 1)
		s := startFast(t, on, func(ctx *fasthttp.RequestCtx) {
			switch string(ctx.Path()) {
			case "/boom":
				panic("boom")
			case "/upload":
				n, _ := io.Copy(io.Discard, ctx.RequestBodyStream()) // fasthttp does not report an error here
				cut <- n
			default:
				fastEcho(ctx)
			}
		}, func(s *fastSite) { s.server.StreamRequestBody = true })
		for range 3 {
			code, got, err := s.do("GET", "/boom", nil)
			require.NoError(t, err)
			require.Equal(t, http.StatusInternalServerError, code)
			require.Equal(t, "boom", string(got))

			conn := rawDial(t, s.addr)
			_, err = io.WriteString(conn, "POST /upload HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n"+
				string(pattern(0, 20_000))) // fasthttp calls the handler when 8 KiB have arrived
			require.NoError(t, err)
			require.NoError(t, conn.Close())
			require.LessOrEqual(t, await(t, cut, "the handler's end"), int64(20_000))
			require.NoError(t, s.echo([]byte("still there")))
		}
	})
}

func TestFastHTTPHijackedConnectionIsTheHandlers(t *testing.T) {
	s := startFast(t, sides{server: true}, func(ctx *fasthttp.RequestCtx) {
		ctx.SetStatusCode(fasthttp.StatusSwitchingProtocols)
		ctx.Hijack(func(conn net.Conn) { _, _ = io.Copy(conn, conn) })
	})
	conn := rawDial(t, s.addr)
	_, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	require.NoError(t, err)
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
	sent, wrote := pattern(7, 2<<20), make(chan error, 1)
	go func() {
		_, err := conn.Write(sent)
		wrote <- errors.Join(err, conn.CloseWrite())
	}()
	got, err := digestOf(r)
	require.NoError(t, err)
	require.Equal(t, digest(sent), got)
	require.NoError(t, await(t, wrote, "the end of the writer"))
}
