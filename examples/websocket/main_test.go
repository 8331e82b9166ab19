package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"runtime"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	"github.com/stretchr/testify/require"
)

const patience = 20 * time.Second

// TestRunEchoesOverWebSocket runs the program and checks its output.
func TestRunEchoesOverWebSocket(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out))
	require.Equal(t, `sent "hello", got back "hello"
sent "and goodbye", got back "and goodbye"
`, out.String())
}

// served starts the server and returns its address.
func served(t *testing.T) string {
	loop, err := netpoll.NewEventLoop(upgrade)
	require.NoError(t, err)
	ln, err := netpoll.CreateListener("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- loop.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		require.NoError(t, loop.Shutdown(ctx))
		require.NoError(t, <-done)
	})
	return ln.Addr().String()
}

// opened returns the client's end of a WebSocket.
func opened(t *testing.T, addr string) net.Conn {
	conn, _, _, err := ws.Dial(t.Context(), "ws://"+addr)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	return conn
}

func TestWaitingWebSocketsCostNoGoroutine(t *testing.T) {
	const conns = 200
	addr := served(t)
	first := opened(t, addr)
	before := runtime.NumGoroutine()
	for range conns {
		opened(t, addr)
	}
	require.NoError(t, wsutil.WriteClientText(first, []byte("x")))
	_, err := wsutil.ReadServerText(first)
	require.NoError(t, err)
	limit := time.Now().Add(patience)
	for runtime.NumGoroutine() > before+conns/10 {
		require.True(t, time.Now().Before(limit), "%d goroutines for %d connections", runtime.NumGoroutine()-before, conns)
		runtime.Gosched()
	}
}

// Every byte comes alone, and both handlers return each time.
func TestFramesArriveByteByByte(t *testing.T) {
	addr := served(t)
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	dialer := ws.Dialer{}
	_, _, err = dialer.Upgrade(byByte{conn}, mustParse(t, "ws://"+addr+"/"))
	require.NoError(t, err)
	require.NoError(t, wsutil.WriteClientBinary(byByte{conn}, []byte("abc")))
	got, err := wsutil.ReadServerBinary(conn)
	require.NoError(t, err)
	require.Equal(t, "abc", string(got))
}

func TestControlFramesAndFragmentsAreAnswered(t *testing.T) {
	conn := opened(t, served(t))
	for _, frame := range []ws.Frame{
		ws.NewFrame(ws.OpText, false, []byte("one ")),
		ws.NewPingFrame([]byte("p")),
		ws.NewFrame(ws.OpContinuation, true, bytes.Repeat([]byte("x"), 5000)),
		ws.NewCloseFrame(ws.NewCloseFrameBody(ws.StatusNormalClosure, "")),
	} {
		sent := frame
		sent.Payload = bytes.Clone(frame.Payload)
		require.NoError(t, ws.WriteFrame(conn, ws.MaskFrameInPlace(sent)))
		got, err := ws.ReadFrame(conn)
		require.NoError(t, err)
		want := frame.Header
		if want.OpCode == ws.OpPing {
			want.OpCode = ws.OpPong
		}
		require.Equal(t, want, got.Header)
		require.True(t, bytes.Equal(frame.Payload, got.Payload))
	}
	_, err := conn.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
}

func TestBadPeersAreTurnedAway(t *testing.T) {
	addr := served(t)
	for name, text := range map[string][]byte{
		"no WebSocket":   []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		"no end":         bytes.Repeat([]byte("x"), 9<<10),
		"frame unmasked": nil,
		"frame too long": ws.MustCompileFrame(ws.MaskFrame(ws.NewBinaryFrame(make([]byte, maxFrame+1))))[:14],
	} {
		var conn net.Conn
		if name[:2] == "no" {
			var err error
			conn, err = net.Dial("tcp", addr)
			require.NoError(t, err)
			t.Cleanup(func() { conn.Close() })
			require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
		} else {
			conn = opened(t, addr)
		}
		if text == nil {
			text = ws.MustCompileFrame(ws.NewTextFrame([]byte("x")))
		}
		_, err := conn.Write(text)
		require.NoError(t, err, name)
		_, err = io.Copy(io.Discard, conn) // ends, by EOF or by a reset
		var timeout net.Error
		require.False(t, errors.As(err, &timeout) && timeout.Timeout(), name)
	}
}

// byByte is a net.Conn whose Write sends each byte by itself.
type byByte struct{ net.Conn }

func (c byByte) Write(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		_, err = c.Conn.Write(p[n : n+1])
		n++
	}
	return n, err
}

func mustParse(t *testing.T, address string) *url.URL {
	u, err := url.Parse(address)
	require.NoError(t, err)
	return u
}
