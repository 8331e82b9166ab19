package programs

// gorilla/websocket, client and server. The server hijacks connections of net/http. The client writes an http.Request to
// the connection that it has dialed.

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

// echoMessages is a handler that sends every message back unchanged.
func echoMessages(compress bool) http.HandlerFunc {
	upgrader := websocket.Upgrader{EnableCompression: compress, HandshakeTimeout: patience}
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close()
		_ = c.SetReadDeadline(time.Now().Add(patience))
		_ = c.SetWriteDeadline(time.Now().Add(patience))
		for {
			kind, message, err := c.ReadMessage()
			if err != nil {
				return
			}
			if err := c.WriteMessage(kind, message); err != nil {
				return
			}
		}
	}
}

// dialWebSocket returns a client of a site of echoMessages.
func dialWebSocket(t *testing.T, on sides, compress bool) *websocket.Conn {
	t.Helper()
	s := startSite(t, on, http1, echoMessages(compress))
	d := websocket.Dialer{NetDialContext: on.dial, EnableCompression: compress, HandshakeTimeout: soon}
	c, resp, err := d.DialContext(context.Background(), "ws://"+s.addr, nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
	require.NoError(t, c.SetReadDeadline(time.Now().Add(patience)))
	require.NoError(t, c.SetWriteDeadline(time.Now().Add(patience)))
	return c
}

// Behaviour 9.5.
func TestWebSocketMessagesComeBack(t *testing.T) {
	for name, compress := range map[string]bool{"plain": false, "compressed": true} {
		t.Run(name, func(t *testing.T) {
			againstNet(t, func(t *testing.T, on sides) {
				c := dialWebSocket(t, on, compress)
				for i, size := range []int{0, 1, 125, 126, 4096, 65_535, 65_536, 3 << 20} {
					for _, kind := range []int{websocket.TextMessage, websocket.BinaryMessage} {
						want := pattern(i, size)
						sent := make(chan error, 1)
						go func() { sent <- c.WriteMessage(kind, want) }()
						gotKind, got, err := c.ReadMessage()
						require.NoError(t, err)
						require.Equal(t, kind, gotKind)
						require.Equal(t, digest(want), digest(got))
						require.NoError(t, await(t, sent, "the end of WriteMessage"))
					}
				}
			})
		})
	}
}

// Each NextWriter is a message of several frames, written in pieces and as strings.
func TestWebSocketMessagesInPieces(t *testing.T) {
	againstNet(t, func(t *testing.T, on sides) {
		c := dialWebSocket(t, on, false)
		for i := range 20 {
			w, err := c.NextWriter(websocket.TextMessage)
			require.NoError(t, err)
			var want []byte
			for piece := range 10 {
				p := string(pattern(piece, i*700))
				want = append(want, p...)
				_, err = io.WriteString(w, p)
				require.NoError(t, err)
			}
			require.NoError(t, w.Close())
			_, got, err := c.ReadMessage()
			require.NoError(t, err)
			require.Equal(t, digest(want), digest(got))
		}
	})
}

// The reader of a connection answers pings and close messages.
func TestWebSocketPingsAndCloses(t *testing.T) {
	againstNet(t, func(t *testing.T, on sides) {
		c := dialWebSocket(t, on, false)
		pongs := make(chan string, 1)
		c.SetPongHandler(func(data string) error {
			pongs <- data
			return nil
		})
		require.NoError(t, c.WriteControl(websocket.PingMessage, []byte("are you there"), time.Now().Add(patience)))
		require.NoError(t, c.WriteMessage(websocket.TextMessage, []byte("one")))
		_, got, err := c.ReadMessage()
		require.NoError(t, err)
		require.Equal(t, "one", string(got))
		require.Equal(t, "are you there", await(t, pongs, "the pong"))

		bye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "bye")
		require.NoError(t, c.WriteControl(websocket.CloseMessage, bye, time.Now().Add(patience)))
		_, _, err = c.ReadMessage()
		var closed *websocket.CloseError
		require.True(t, errors.As(err, &closed), "%v", err)
		require.Equal(t, websocket.CloseNormalClosure, closed.Code)
	})
}
