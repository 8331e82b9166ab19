package programs

// Functions of the standard library that write to an io.Writer, here a connection. Many of them use WriteString or
// WriteByte if the writer has it.

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"compress/lzw"
	"encoding/binary"
	"encoding/csv"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"image"
	"image/gif"
	"image/jpeg"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/textproto"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/stretchr/testify/require"
)

// document is the value that the encoders write.
type document struct {
	Name   string
	Values []int
}

// writers are functions that write to w and return when everything is written.
var writers = map[string]func(w io.Writer) error{
	"io.WriteString": func(w io.Writer) error {
		_, err := io.WriteString(w, "a string")
		return err
	},
	"io.WriteString of a long one": func(w io.Writer) error {
		long := string(pattern(1, 100_000))
		_, err := io.WriteString(w, long)
		return err
	},
	"io.Copy from a strings.Reader": func(w io.Writer) error {
		_, err := io.Copy(w, strings.NewReader(string(pattern(2, 10_000))))
		return err
	},
	"io.Copy from a bytes.Reader": func(w io.Writer) error {
		_, err := io.Copy(w, bytes.NewReader(pattern(3, 10_000)))
		return err
	},
	"io.MultiWriter": func(w io.Writer) error {
		_, err := io.WriteString(io.MultiWriter(io.Discard, w), "to two")
		return err
	},
	"bufio.Writer with a long string": func(w io.Writer) error {
		b := bufio.NewWriterSize(w, 16)
		if _, err := b.WriteString(string(pattern(4, 10_000))); err != nil {
			return err
		}
		return b.Flush()
	},
	"http.Request without a body": func(w io.Writer) error {
		req, err := http.NewRequest(http.MethodGet, "http://example.com/path?q=1", nil)
		if err != nil {
			return err
		}
		return req.Write(w)
	},
	"http.Request with a body": func(w io.Writer) error {
		req, err := http.NewRequest(http.MethodPost, "http://example.com/", strings.NewReader("the body"))
		if err != nil {
			return err
		}
		return req.Write(w)
	},
	"http.Response without a body": func(w io.Writer) error {
		resp := &http.Response{StatusCode: http.StatusNoContent, ProtoMajor: 1, ProtoMinor: 1}
		return resp.Write(w)
	},
	"http.Response with a body": func(w io.Writer) error {
		resp := &http.Response{
			StatusCode: http.StatusOK, ProtoMajor: 1, ProtoMinor: 1,
			ContentLength: 8, Body: io.NopCloser(strings.NewReader("the body")),
		}
		return resp.Write(w)
	},
	"http.Header": func(w io.Writer) error {
		return http.Header{"Content-Type": {"text/plain"}, "X-Other": {"1", "2"}}.Write(w)
	},
	"fmt.Fprintf": func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%d %s\n", 42, "things")
		return err
	},
	"gob":  func(w io.Writer) error { return gob.NewEncoder(w).Encode(document{"gob", []int{1, 2, 3}}) },
	"json": func(w io.Writer) error { return json.NewEncoder(w).Encode(document{"json", []int{1, 2, 3}}) },
	"xml":  func(w io.Writer) error { return xml.NewEncoder(w).Encode(document{"xml", []int{1, 2, 3}}) },
	"binary.Write": func(w io.Writer) error {
		return binary.Write(w, binary.BigEndian, struct{ A, B uint32 }{1, 2})
	},
	"csv": func(w io.Writer) error {
		return csv.NewWriter(w).WriteAll([][]string{{"a", "b"}, {"c", "d,e"}})
	},
	"textproto": func(w io.Writer) error {
		return textproto.NewWriter(bufio.NewWriter(w)).PrintfLine("220 %s", "ready")
	},
	"template": func(w io.Writer) error {
		return template.Must(template.New("").Parse("{{range .}}<{{.}}>{{end}}")).Execute(w, []int{1, 2, 3})
	},
	"multipart": func(w io.Writer) error {
		m := multipart.NewWriter(w)
		if err := m.SetBoundary("boundary"); err != nil {
			return err
		}
		if err := m.WriteField("name", "value"); err != nil {
			return err
		}
		return m.Close()
	},
	"gzip": func(w io.Writer) error {
		z := gzip.NewWriter(w)
		if _, err := io.WriteString(z, "compressed"); err != nil {
			return err
		}
		return z.Close()
	},
	"lzw": func(w io.Writer) error {
		z := lzw.NewWriter(w, lzw.LSB, 8)
		if _, err := z.Write(pattern(5, 2_000)); err != nil {
			return err
		}
		return z.Close()
	},
	"jpeg": func(w io.Writer) error { return jpeg.Encode(w, image.NewGray(image.Rect(0, 0, 32, 32)), nil) },
	"gif":  func(w io.Writer) error { return gif.Encode(w, image.NewGray(image.Rect(0, 0, 32, 32)), nil) },
}

// Behaviour 9.5: each call sends what it has written before it returns. No Flush is needed.
func TestWritersOfTheStandardLibrarySend(t *testing.T) {
	for name, write := range writers {
		t.Run(name, func(t *testing.T) {
			var want bytes.Buffer
			require.NoError(t, write(struct{ io.Writer }{&want})) // a writer that has only Write
			againstNet(t, func(t *testing.T, on sides) {
				overBothEnds(t, on, func(t *testing.T, conn net.Conn, peer *net.TCPConn) {
					written := make(chan error, 1)
					go func() { written <- write(conn) }()
					require.NoError(t, peer.SetReadDeadline(time.Now().Add(soon)))
					got := make([]byte, want.Len())
					n, err := io.ReadFull(peer, got)
					require.NoError(t, err, "%d of %d bytes came", n, len(got))
					require.Equal(t, digest(want.Bytes()), digest(got))
					require.NoError(t, await(t, written, "the writer's end"))
				})
			})
		})
	}
}

// Behaviour 9.5: the bytes of several calls stay in order, whichever methods the calls use.
func TestWritersOfTheStandardLibraryKeepTheirOrder(t *testing.T) {
	againstNet(t, func(t *testing.T, on sides) {
		overBothEnds(t, on, func(t *testing.T, conn net.Conn, peer *net.TCPConn) {
			_, err := io.WriteString(conn, "one ")
			require.NoError(t, err)
			_, err = conn.Write([]byte("two "))
			require.NoError(t, err)
			_, err = io.Copy(conn, strings.NewReader("three "))
			require.NoError(t, err)
			_, err = fmt.Fprint(conn, "four")
			require.NoError(t, err)
			require.NoError(t, peer.SetReadDeadline(time.Now().Add(soon)))
			got := make([]byte, len("one two three four"))
			_, err = io.ReadFull(peer, got)
			require.NoError(t, err)
			require.Equal(t, "one two three four", string(got))
		})
	})
}
