package compat

// Hertz over this library: bodies that are streamed, and connections that leave HTTP.

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/cloudwego/hertz/pkg/app"
	"github.com/cloudwego/hertz/pkg/app/client"
	"github.com/cloudwego/hertz/pkg/app/middlewares/server/recovery"
	"github.com/cloudwego/hertz/pkg/app/server"
	"github.com/cloudwego/hertz/pkg/network"
	"github.com/cloudwego/hertz/pkg/protocol"
	"github.com/cloudwego/hertz/pkg/protocol/http1/resp"
	"github.com/stretchr/testify/require"
)

// hugeBody is more than the buffers on both sides of a connection can hold, in bytes.
const hugeBody = 10 << 20

// digest describes the content of r, which is too long to print.
func digest(r io.Reader) string {
	h := sha256.New()
	n, err := io.Copy(h, r)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%d bytes, %x", n, h.Sum(nil)[:8])
}

// tracked is a body that shows whether it was closed before its end.
type tracked struct {
	*strings.Reader
	closed chan int // delivers the number of unread bytes
}

func (b *tracked) Close() error {
	select {
	case b.closed <- b.Len():
	default: // a second Close
	}
	return nil
}

// streamRoutes has /digest for a streamed request and /huge, with or without a length, for a streamed response.
func streamRoutes(closed chan int) func(h *server.Hertz) {
	body := string(randomBytes(1, hugeBody))
	huge := func(size int) app.HandlerFunc {
		return func(_ context.Context, c *app.RequestContext) {
			c.SetBodyStream(&tracked{strings.NewReader(body), closed}, size)
		}
	}
	return func(h *server.Hertz) {
		echoRoutes(h)
		h.POST("/digest", func(_ context.Context, c *app.RequestContext) {
			body := c.RequestBodyStream()
			if !c.Request.IsBodyStream() {
				body = bytes.NewReader(c.Request.Body())
			}
			c.String(http.StatusOK, "%s", digest(body))
		})
		h.GET("/huge", huge(len(body)))
		h.GET("/huge/chunked", huge(-1))
	}
}

func TestHertzStreamsRequestBodies(t *testing.T) {
	overNetworks(t, func(t *testing.T, network string) {
		s := startHertz(t, network, streamRoutes(nil), server.WithStreamBody(true), server.WithMaxRequestBodySize(2*hugeBody))
		c, d := newHertzClient(t, s)
		for i, size := range []int{1, 4096, 100_000, hugeBody} {
			body := randomBytes(uint64(i), size)
			for _, length := range []int{size, -1} {
				_, got, err := roundTrip(c, http.MethodPost, s.url("/digest"), nil, func(r *protocol.Request) {
					r.SetBodyStream(bytes.NewReader(body), length)
				})
				require.NoError(t, err)
				require.Equal(t, digest(bytes.NewReader(body)), got, "%d bytes, length %d", size, length)
			}
		}
		require.EqualValues(t, 1, d.dials.Load())
	})
}

// While the client does not read the response, the server has to wait, and serves other clients.
func TestHertzStreamsResponseBodiesToASlowClient(t *testing.T) {
	overNetworks(t, func(t *testing.T, network string) {
		closed := make(chan int, 1)
		s := startHertz(t, network, streamRoutes(closed))
		c, _ := newHertzClient(t, s, client.WithResponseBodyStream(true))
		want := digest(bytes.NewReader(randomBytes(1, hugeBody)))
		for _, path := range []string{"/huge", "/huge/chunked"} {
			req, answer := new(protocol.Request), new(protocol.Response)
			req.SetRequestURI(s.url(path))
			require.NoError(t, c.Do(timeLimit(t), req, answer))
			other, _ := newHertzClient(t, s)
			for i := range 5 {
				body := randomBytes(uint64(i), 10_000)
				_, got, err := roundTrip(other, http.MethodPost, s.url("/echo"), body)
				require.NoError(t, err)
				require.Equal(t, string(body), got)
			}
			require.Empty(t, closed, "the response has left without a reader")
			require.Equal(t, want, digest(answer.BodyStream()), path)
			require.NoError(t, answer.CloseBodyStream())
			require.Zero(t, await(t, closed, "the response's end"))
		}
	})
}

func TestHertzFlushesEachChunkAsItIsWritten(t *testing.T) {
	next := make(chan struct{})
	s := startHertz(t, "tcp", func(h *server.Hertz) {
		h.GET("/", func(_ context.Context, c *app.RequestContext) {
			c.Response.HijackWriter(resp.NewChunkedBodyWriter(&c.Response, c.GetWriter()))
			for i := range 5 {
				_, _ = fmt.Fprintf(c, "chunk %d\n", i)
				_ = c.Flush()
				<-next
			}
		})
	})
	conn := rawDial(t, s)
	_, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	require.NoError(t, err)
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	lines := bufio.NewScanner(answer.Body)
	for i := range 5 {
		require.True(t, lines.Scan())
		require.Equal(t, fmt.Sprintf("chunk %d", i), lines.Text())
		next <- struct{}{} // the handler waits for this before it writes the next chunk
	}
	require.False(t, lines.Scan())
	require.NoError(t, lines.Err())
}

func TestHertzServesHugeBodiesWhole(t *testing.T) {
	s := startHertz(t, "tcp", echoRoutes, server.WithMaxRequestBodySize(2*hugeBody))
	c, _ := newHertzClient(t, s)
	body := randomBytes(3, hugeBody)
	_, got, err := roundTrip(c, http.MethodPost, s.url("/echo"), body)
	require.NoError(t, err)
	require.True(t, string(body) == got, "%d bytes came back, or others", len(got))
}

// Behaviour 5.2, 4.7: when a client closes in the middle of a body, the server stops sending the response, or reading
// the request.
func TestHertzClientThatLeavesEndsItsBodies(t *testing.T) {
	closed := make(chan int, 1)
	uploads := make(chan string, 1)
	s := startHertz(t, "tcp", func(h *server.Hertz) {
		streamRoutes(closed)(h)
		h.POST("/upload", func(_ context.Context, c *app.RequestContext) { uploads <- digest(c.RequestBodyStream()) })
	}, server.WithStreamBody(true))
	for _, path := range []string{"/huge", "/huge/chunked"} {
		conn := rawDial(t, s)
		_, err := io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: h\r\n\r\n")
		require.NoError(t, err)
		_, err = io.ReadFull(conn, make([]byte, 100_000))
		require.NoError(t, err)
		require.NoError(t, conn.Close())
		require.Positive(t, await(t, closed, "the response's end"))
	}
	part := strings.Repeat("x", 20_000) // Hertz calls the handler when it has 8 KiB
	for _, head := range []string{"Content-Length: 100000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n4E20\r\n"} {
		conn := rawDial(t, s)
		_, err := io.WriteString(conn, "POST /upload HTTP/1.1\r\nHost: h\r\n"+head+part)
		require.NoError(t, err)
		require.NoError(t, conn.Close())
		require.NotContains(t, await(t, uploads, "the handler's end"), "bytes,", "a part was taken for the whole")
	}
	c, _ := newHertzClient(t, s)
	_, _, err := roundTrip(c, http.MethodGet, s.url("/echo"), nil)
	require.NoError(t, err)
}

// Behaviour 5.7: without Hertz's middleware that recovers from panics, the library recovers.
func TestHertzSurvivesAPanicInAHandler(t *testing.T) {
	for name, with := range map[string][]app.HandlerFunc{"recovered": {recovery.Recovery()}, "not recovered": nil} {
		t.Run(name, func(t *testing.T) {
			s := startHertz(t, "tcp", func(h *server.Hertz) {
				h.Use(with...)
				echoRoutes(h)
				h.GET("/boom", func(context.Context, *app.RequestContext) { panic("boom") })
			})
			c, _ := newHertzClient(t, s)
			for range 3 {
				conn := rawDial(t, s)
				_, err := io.WriteString(conn, "GET /boom HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
				require.NoError(t, err)
				got, err := io.ReadAll(conn)
				if with == nil {
					require.Empty(t, got, "an answer of a handler that panicked")
				} else {
					require.NoError(t, err)
					require.Contains(t, string(got), "500 Internal Server Error")
				}
				_, _, err = roundTrip(c, http.MethodGet, s.url("/echo"), nil)
				require.NoError(t, err)
			}
		})
	}
}

// Behaviour 6.1: Shutdown waits for a response that is being sent.
func TestHertzShutdownWaitsForAResponseThatIsStreamed(t *testing.T) {
	closed := make(chan int, 1)
	s := startHertz(t, "tcp", streamRoutes(closed))
	conn := rawDial(t, s)
	_, err := io.WriteString(conn, "GET /huge/chunked HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
	require.NoError(t, err)
	r := bufio.NewReader(conn)
	answer, err := http.ReadResponse(r, nil)
	require.NoError(t, err)
	stopped := make(chan error, 1)
	go func() { stopped <- s.Shutdown(context.Background()) }()
	requireRefused(t, s.addr)
	require.Empty(t, stopped, "Shutdown did not wait")
	require.Equal(t, digest(bytes.NewReader(randomBytes(1, hugeBody))), digest(answer.Body))
	_, err = r.ReadByte()
	require.ErrorIs(t, err, io.EOF)
	require.NoError(t, await(t, stopped, "the end of Shutdown"))
	require.NoError(t, await(t, s.ran, "the end of Run"))
}

func TestHertzAsksForTheBodyThatAClientHoldsBack(t *testing.T) {
	for _, stream := range []bool{false, true} {
		t.Run(fmt.Sprint("stream=", stream), func(t *testing.T) {
			s := startHertz(t, "tcp", streamRoutes(nil), server.WithStreamBody(stream))
			conn := rawDial(t, s)
			body := randomBytes(4, 100_000)
			_, err := fmt.Fprintf(conn, "POST /digest HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n"+
				"Expect: 100-continue\r\n\r\n", len(body))
			require.NoError(t, err)
			r := bufio.NewReader(conn)
			word, err := r.ReadString('\n')
			require.NoError(t, err)
			require.Equal(t, "HTTP/1.1 100 Continue\r\n", word)
			_, err = r.ReadString('\n')
			require.NoError(t, err)
			_, err = conn.Write(body)
			require.NoError(t, err)
			answer, err := http.ReadResponse(r, nil)
			require.NoError(t, err)
			got, err := io.ReadAll(answer.Body)
			require.NoError(t, err)
			require.Equal(t, digest(bytes.NewReader(body)), string(got))
		})
	}
}

// Behaviour 5.4, 5.10: the handler takes the connection over; its peer half-closes, and still gets the rest.
func TestHertzHijackedConnectionIsTheHandlers(t *testing.T) {
	s := startHertz(t, "tcp", func(h *server.Hertz) {
		h.GET("/", func(_ context.Context, c *app.RequestContext) {
			c.Status(http.StatusSwitchingProtocols)
			c.Hijack(func(conn network.Conn) { _, _ = io.Copy(net.Conn(conn), struct{ io.Reader }{conn}) })
		})
	})
	conn := rawDial(t, s)
	_, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	require.NoError(t, err)
	r := bufio.NewReader(conn)
	answer, err := http.ReadResponse(r, nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusSwitchingProtocols, answer.StatusCode)
	sent, wrote := randomBytes(5, 2<<20), make(chan error, 1)
	go func() {
		_, err := conn.Write(sent)
		wrote <- errors.Join(err, conn.(*net.TCPConn).CloseWrite())
	}()
	require.Equal(t, digest(bytes.NewReader(sent)), digest(r))
	require.NoError(t, await(t, wrote, "the end of the writer"))
}
