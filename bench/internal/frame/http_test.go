package frame

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// httpStream is n responses in a row, with stamps from first.
func httpStream(t *testing.T, tpl *Template, first uint64, n int) []byte {
	t.Helper()
	var out []byte
	msg := make([]byte, tpl.Len())
	for i := range n {
		tpl.Put(msg, first+uint64(i))
		out = fmt.Appendf(out, "HTTP/1.1 200 OK\r\nX: y\r\ncontent-LENGTH: %d\r\n\r\n%s",
			tpl.Len()-HeaderLen, msg[HeaderLen:])
	}
	return out
}

func TestHTTPCheckerAcceptsResponsesInPiecesOfAnySize(t *testing.T) {
	tpl, err := NewTemplate(50)
	require.NoError(t, err)
	sent := httpStream(t, tpl, 9, 3)
	for piece := 1; piece <= len(sent); piece++ {
		c := NewHTTP(tpl).Checker(9)
		total := 0
		for off := 0; off < len(sent); off += piece {
			n, err := c.Feed(sent[off:min(off+piece, len(sent))])
			require.NoError(t, err, "pieces of %d", piece)
			total += n
		}
		require.Equal(t, 3, total, "pieces of %d", piece)
	}
}

func TestHTTPCheckerRejectsOtherResponses(t *testing.T) {
	tpl, err := NewTemplate(50)
	require.NoError(t, err)
	good := string(httpStream(t, tpl, 9, 2))
	for name, bad := range map[string]string{
		"status":       strings.Replace(good, "200 OK", "500 No", 1),
		"length":       strings.Replace(good, ": 50", ": 51", 1),
		"no length":    strings.Replace(good, "content-LENGTH", "content", 1),
		"body":         good[:len(good)-20] + "?" + good[len(good)-19:],
		"endless head": strings.Repeat("HTTP/1.1 200 OK ", 400),
	} {
		_, err := NewHTTP(tpl).Checker(9).Feed([]byte(bad))
		require.Error(t, err, name)
	}
	_, err = NewHTTP(tpl).Checker(8).Feed([]byte(good))
	require.Error(t, err, "stamp")
}

func TestHTTPRequestPostsThePayload(t *testing.T) {
	tpl, err := NewTemplate(20)
	require.NoError(t, err)
	h := NewHTTP(tpl)
	got, msg := make([]byte, h.Len()), make([]byte, tpl.Len())
	h.Put(got, 77)
	tpl.Put(msg, 77)
	head, body, found := strings.Cut(string(got), "\r\n\r\n")
	require.True(t, found)
	require.Equal(t, string(msg[HeaderLen:]), body)
	n, err := ContentLength([]byte(head))
	require.NoError(t, err)
	require.Equal(t, 20, n)
}
