package test

// net/http over the listener and the dialer of this package, each with its counterpart of package net or with each
// other.

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

// bodySize is that of large bodies, in bytes.
const bodySize = 10 << 20

// webSite is an HTTP server under test with its client.
type webSite struct {
	url    string
	client *http.Client
	conns  atomic.Int32 // connections that the server has seen
}

// overHTTP runs a test with the listener, the dialer, and both from this package.
func overHTTP(t *testing.T, handler http.Handler, f func(t *testing.T, site *webSite)) {
	for _, c := range []struct {
		name                 string
		ourServer, ourClient bool
	}{{"our server", true, false}, {"our client", false, true}, {"both", true, true}} {
		t.Run(c.name, func(t *testing.T) {
			site := &webSite{client: &http.Client{Timeout: testkit.Timeout}}
			ln := testkit.Listen(t, "tcp")
			if c.ourServer {
				ln = testnet.Listen(t, "tcp")
			}
			site.url = "http://" + ln.Addr().String()
			server := &http.Server{Handler: handler, ConnState: func(_ net.Conn, state http.ConnState) {
				if state == http.StateNew {
					site.conns.Add(1)
				}
			}}
			served := make(chan error, 1)
			go func() { served <- server.Serve(ln) }()
			transport := new(http.Transport)
			if c.ourClient {
				transport.DialContext = netpoll.NewDialer().(*netpoll.NetDialer).DialContext
			}
			site.client.Transport = transport
			t.Cleanup(func() {
				transport.CloseIdleConnections()
				require.NoError(t, server.Close())
				require.ErrorIs(t, testkit.Receive(t, served), http.ErrServerClosed)
			})
			f(t, site)
		})
	}
}

// echoBody is a handler that sends the body back when it has all of it.
func echoBody(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	_, _ = w.Write(body)
}

// post sends body and returns the body of the answer.
func (s *webSite) post(t *testing.T, body []byte) []byte {
	t.Helper()
	resp, err := s.client.Post(s.url, "application/octet-stream", bytes.NewReader(body))
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusOK, resp.StatusCode)
	got, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return got
}

// Behaviour 6.3: http.Serve works on the listener, and keeps connections alive between requests.
func TestHTTPKeepsConnectionAlive(t *testing.T) {
	overHTTP(t, http.HandlerFunc(echoBody), func(t *testing.T, site *webSite) {
		for i := range 20 {
			body := fmt.Appendf(nil, "request %d", i)
			require.Equal(t, body, site.post(t, body))
		}
		require.EqualValues(t, 1, site.conns.Load(), "connections for 20 requests")
	})
}

// Behaviour 6.3: large bodies pass both ways.
func TestHTTPLargeBodiesBothWays(t *testing.T) {
	overHTTP(t, http.HandlerFunc(echoBody), func(t *testing.T, site *webSite) {
		body := testkit.Pattern(bodySize)
		require.True(t, bytes.Equal(body, site.post(t, body)), "the body came back changed")
	})
}

// Behaviour 6.3: a chunked answer arrives chunk by chunk, as the handler flushes.
func TestHTTPFlushedChunksArriveAtOnce(t *testing.T) {
	next := make(chan struct{})
	handler := func(w http.ResponseWriter, _ *http.Request) {
		for i := range 3 {
			fmt.Fprintf(w, "chunk %d\n", i)
			w.(http.Flusher).Flush()
			<-next
		}
	}
	overHTTP(t, http.HandlerFunc(handler), func(t *testing.T, site *webSite) {
		resp, err := site.client.Get(site.url)
		require.NoError(t, err)
		defer resp.Body.Close()
		lines := bufio.NewScanner(resp.Body)
		for i := range 3 {
			require.True(t, lines.Scan())
			require.Equal(t, fmt.Sprintf("chunk %d", i), lines.Text())
			next <- struct{}{} // only now may the handler go on
		}
		require.False(t, lines.Scan())
		require.NoError(t, lines.Err())
	})
}

// Behaviour 3.8: a handler takes the connection over, which needs a blocked Read to follow a deadline.
func TestHTTPHijackedConnectionIsTheHandlers(t *testing.T) {
	handler := func(w http.ResponseWriter, _ *http.Request) {
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
	overHTTP(t, http.HandlerFunc(handler), func(t *testing.T, site *webSite) {
		req, err := http.NewRequest(http.MethodGet, site.url, nil)
		require.NoError(t, err)
		req.Header.Set("Connection", "Upgrade")
		req.Header.Set("Upgrade", "echo")
		site.client.Timeout = 0 // it would hide that the body can be written to
		resp, err := site.client.Do(req)
		require.NoError(t, err)
		require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
		stream := resp.Body.(io.ReadWriteCloser)
		defer stream.Close()
		for range 10 {
			_, err := io.WriteString(stream, "ping")
			require.NoError(t, err)
			buf := make([]byte, 4)
			_, err = io.ReadFull(stream, buf)
			require.NoError(t, err)
			require.Equal(t, "ping", string(buf))
		}
	})
}

// Behaviour 5.8: a client that gives up ends the context of the request at the server.
func TestHTTPCancelledRequestEndsContextAtServer(t *testing.T) {
	began, ended := make(chan struct{}, 1), make(chan error, 1)
	handler := func(_ http.ResponseWriter, r *http.Request) {
		began <- struct{}{}
		<-r.Context().Done()
		ended <- r.Context().Err()
	}
	overHTTP(t, http.HandlerFunc(handler), func(t *testing.T, site *webSite) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, site.url, nil)
		require.NoError(t, err)
		result := make(chan error, 1)
		go func() {
			resp, err := site.client.Do(req)
			if err == nil {
				err = errors.Join(errors.New("answered all the same"), resp.Body.Close())
			}
			result <- err
		}()
		testkit.Receive(t, began)
		cancel()
		require.ErrorIs(t, testkit.Receive(t, result), context.Canceled)
		require.ErrorIs(t, testkit.Receive(t, ended), context.Canceled)
	})
}

// Behaviour 2.3: the timeout of a server for the header of a request works on its connections.
func TestHTTPReadHeaderTimeoutClosesSlowConnection(t *testing.T) {
	ln := testnet.Listen(t, "tcp")
	server := &http.Server{Handler: http.HandlerFunc(echoBody), ReadHeaderTimeout: testkit.Short}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	conn, err := net.Dial("tcp", ln.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	testkit.Send(t, conn, "GET / HTTP/1.1\r\nHos") // and nothing more
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(testkit.Timeout)))
	_, err = io.ReadAll(conn)
	require.NoError(t, err, "the server closes in order")
	require.NoError(t, server.Close())
	require.ErrorIs(t, testkit.Receive(t, served), http.ErrServerClosed)
}
