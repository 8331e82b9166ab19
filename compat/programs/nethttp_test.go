package programs

// net/http over the library, in each of its protocols. The library's own tests have what a connection must do for
// HTTP/1; here the server and the client are used as real sites use them.

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHTTPServesManyRequestsAtOnce(t *testing.T) {
	const callers, requests = 12, 6
	overProtocols(t, func(t *testing.T, on sides, p protocol) {
		s := startSite(t, on, p, http.HandlerFunc(echoBody))
		ctx := timeLimit(t)
		require.NoError(t, s.echo(ctx, []byte("the first")))
		var wg sync.WaitGroup
		for caller := range callers {
			wg.Go(func() {
				for i := range requests {
					if err := s.echo(ctx, pattern(caller, 1+i*12_000)); err != nil {
						t.Errorf("caller %d, request %d: %v", caller, i, err)
						return
					}
				}
			})
		}
		wg.Wait()
		if p.version() == 2 {
			require.EqualValues(t, 1, s.conns.Load(), "connections")
		}
	})
}

// The client sends while it receives.
func TestHTTPStreamsLargeBodiesBothWaysAtOnce(t *testing.T) {
	const size = 3 << 20
	overProtocols(t, func(t *testing.T, on sides, p protocol) {
		s := startSite(t, on, p, http.HandlerFunc(streamBody))
		body := pattern(1, size)
		req, err := http.NewRequestWithContext(timeLimit(t), http.MethodPost, s.url,
			struct{ io.Reader }{bytes.NewReader(body)}) // of unknown length, so that HTTP/1 sends chunks
		require.NoError(t, err)
		resp, err := s.client.Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		got, err := digestOf(resp.Body)
		require.NoError(t, err)
		require.Equal(t, digest(body), got)
	})
}

// The server has to wait for the client, and in HTTP/2 may not let others wait with it.
func TestHTTPServesOthersWhileAClientDoesNotRead(t *testing.T) {
	body := pattern(2, 8<<20)
	overProtocols(t, func(t *testing.T, on sides, p protocol) {
		mux := http.NewServeMux()
		mux.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) })
		mux.HandleFunc("/", echoBody)
		s := startSite(t, on, p, mux)
		ctx := timeLimit(t)
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/large", nil)
		require.NoError(t, err)
		resp, err := s.client.Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		for i := range 10 {
			require.NoError(t, s.echo(ctx, pattern(i, 10_000)))
		}
		got, err := digestOf(resp.Body)
		require.NoError(t, err)
		require.Equal(t, digest(body), got)
	})
}

// readTracker records whether it was read.
type readTracker struct {
	io.Reader
	read bool
}

func (r *readTracker) Read(p []byte) (int, error) {
	r.read = true
	return r.Reader.Read(p)
}

func TestHTTPSendsABodyOnlyToAServerThatWantsIt(t *testing.T) {
	overSides(t, func(t *testing.T, on sides) {
		s := startSite(t, on, http1, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/refused" {
				http.Error(w, "no", http.StatusForbidden)
				return
			}
			echoBody(w, r)
		}), func(s *webSite) { s.transport.ExpectContinueTimeout = 2 * patience })
		sent := pattern(3, 1<<20)
		for path, want := range map[string]int{"/wanted": http.StatusOK, "/refused": http.StatusForbidden} {
			body := &readTracker{Reader: bytes.NewReader(sent)}
			req, err := http.NewRequestWithContext(timeLimit(t), http.MethodPost, s.url+path, body)
			require.NoError(t, err)
			req.Header.Set("Expect", "100-continue")
			resp, err := s.client.Do(req)
			require.NoError(t, err, path)
			got, err := io.ReadAll(resp.Body)
			require.NoError(t, err, path)
			require.NoError(t, resp.Body.Close())
			require.Equal(t, want, resp.StatusCode, path)
			require.Equal(t, want == http.StatusOK, body.read, "%s: the body was read", path)
			require.Equal(t, body.read, bytes.Equal(sent, got), path)
		}
	})
}

func TestHTTPShutdownWaitsForARunningRequest(t *testing.T) {
	overProtocols(t, func(t *testing.T, on sides, p protocol) {
		entered, release := make(chan struct{}), make(chan struct{})
		s := startSite(t, on, p, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			close(entered)
			<-release
			_, _ = io.WriteString(w, "served")
		}))
		type result struct {
			body string
			err  error
		}
		answer, stopped := make(chan result, 1), make(chan error, 1)
		ctx := timeLimit(t)
		go func() {
			_, body, err := s.do(ctx, http.MethodGet, "/", nil)
			answer <- result{string(body), err}
		}()
		await(t, entered, "the request")
		idle := rawDial(t, s.addr) // Shutdown waits only briefly for a connection without a request
		go func() { stopped <- s.shutdown() }()
		requireRefused(t, s.addr)
		require.Empty(t, stopped, "Shutdown did not wait")
		require.NoError(t, idle.Close())
		close(release)
		got := await(t, answer, "the answer")
		require.NoError(t, got.err)
		require.Equal(t, "served", got.body)
		require.NoError(t, await(t, stopped, "the end of Shutdown"))
	})
}

// Behaviour 5.8: the client finds that the server has closed its idle connection.
func TestHTTPClientSurvivesARestartOfItsServer(t *testing.T) {
	overProtocols(t, func(t *testing.T, on sides, p protocol) {
		t.Parallel() // shutting HTTP/2 down takes a second
		ctx := timeLimit(t)
		s := startSite(t, on, p, http.HandlerFunc(echoBody))
		_, _, err := s.do(ctx, http.MethodGet, "/", nil)
		require.NoError(t, err)
		require.NoError(t, s.shutdown())
		requireRefused(t, s.addr)
		// With TLS the new server has another certificate, which the client does not trust yet.
		again := startSiteOn(t, on, p, s.addr, http.HandlerFunc(echoBody))
		if again.pem != nil {
			s.transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(again.pem)
		}
		code, _, err := s.do(ctx, http.MethodGet, "/", nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, code)
	})
}

func TestHTTPHandlerSeesThatAnUploadIsAbandoned(t *testing.T) {
	overProtocols(t, func(t *testing.T, on sides, p protocol) {
		began, ended := make(chan struct{}), make(chan error, 1)
		s := startSite(t, on, p, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.ReadFull(r.Body, make([]byte, 10))
			close(began)
			_, err := io.Copy(io.Discard, r.Body)
			ended <- errors.Join(err, r.Context().Err())
		}))
		ctx, cancel := context.WithCancel(timeLimit(t))
		defer cancel()
		body, more := io.Pipe()
		defer more.Close()
		failed := make(chan error, 1)
		go func() {
			_, _, err := s.do(ctx, http.MethodPost, "/", body)
			failed <- err
		}()
		_, err := more.Write(make([]byte, 10))
		require.NoError(t, err)
		await(t, began, "the request")
		cancel()
		require.Error(t, await(t, ended, "the handler's end"))
		require.NoError(t, more.Close()) // net/http waits for the goroutine that supplies the body
		require.ErrorIs(t, await(t, failed, "the client's end"), context.Canceled)
	})
}

// Behaviour 5.7: a panic of a handler fails its own request and nothing else.
func TestHTTPSurvivesAPanicInAHandler(t *testing.T) {
	overProtocols(t, func(t *testing.T, on sides, p protocol) {
		mux := http.NewServeMux()
		mux.HandleFunc("/boom", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, strings.Repeat("x", 10_000))
			_ = http.NewResponseController(w).Flush()
			panic("boom")
		})
		mux.HandleFunc("/", echoBody)
		s := startSite(t, on, p, mux)
		ctx := timeLimit(t)
		for range 5 {
			_, got, err := s.do(ctx, http.MethodGet, "/boom", nil)
			require.Error(t, err, "an answer without its end was taken for whole")
			require.LessOrEqual(t, len(got), 10_000)
			require.NoError(t, s.echo(ctx, []byte("still there")))
		}
	})
}

// A reverse proxy is both a server and a client. The server behind it also hijacks a connection, and half-closes it.
func TestHTTPReverseProxyCarriesBodiesAndUpgrades(t *testing.T) {
	overSides(t, func(t *testing.T, on sides) {
		mux := http.NewServeMux()
		mux.HandleFunc("/", echoBody)
		mux.HandleFunc("/upgrade", upgrade)
		backend := startSite(t, on, http1, mux)
		to, err := url.Parse(backend.url)
		require.NoError(t, err)
		s := startSite(t, on, http1, &httputil.ReverseProxy{
			Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(to) },
			Transport: backend.transport,
		})
		ctx := timeLimit(t)
		for i, size := range []int{0, 1, 10_000, 2 << 20} {
			require.NoError(t, s.echo(ctx, pattern(i, size)), "%d bytes", size)
		}

		conn := rawDial(t, s.addr)
		_, err = io.WriteString(conn, "GET /upgrade HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		require.NoError(t, err)
		r := bufio.NewReader(conn)
		resp, err := http.ReadResponse(r, nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
		sent := pattern(7, 3<<20)
		wrote := make(chan error, 1)
		go func() {
			_, err := conn.Write(sent)
			wrote <- err
		}()
		got := make([]byte, len(sent))
		_, err = io.ReadFull(r, got)
		require.NoError(t, err)
		require.Equal(t, digest(sent), digest(got))
		require.NoError(t, await(t, wrote, "the end of the writer"))
		require.NoError(t, conn.CloseWrite())
		_, err = r.ReadByte()
		require.ErrorIs(t, err, io.EOF)
	})
}

// upgrade hijacks the connection and echoes its input.
func upgrade(w http.ResponseWriter, _ *http.Request) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer conn.Close()
	fmt.Fprint(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	if rw.Flush() == nil {
		_, _ = io.Copy(conn, rw)
	}
}
