package programs

// Functions of the standard library that read from an io.Reader, here a connection. Many of them use ReadByte if the
// reader has it, and accept only io.EOF itself as the end.

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/lzw"
	"encoding/binary"
	"encoding/csv"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"image"
	"image/gif"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"testing"

	"github.com/stretchr/testify/require"
)

// reading has an input, and a function that reads it to the end of the stream and returns the result.
type reading struct {
	input func(w io.Writer) error
	read  func(r io.Reader) (any, error)
}

func text(s string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write([]byte(s))
		return err
	}
}

// readings are programs that read until the end.
var readings = map[string]reading{
	"io.ReadAll":  {text("all of it"), func(r io.Reader) (any, error) { return io.ReadAll(r) }},
	"bufio lines": {text("a\nb\nc"), readLines},
	"xml tokens":  {text("<a><b>c</b></a>"), readTokens},
	"xml cut off": {text("<a><b>c</b>"), readTokens},
	"uvarints": {func(w io.Writer) error {
		_, err := w.Write(binary.AppendUvarint(binary.AppendUvarint(nil, 7), 1<<40))
		return err
	}, readUvarints},
	"uvarint cut off": {text("\x05\x80"), readUvarints},
	"gob": {writers["gob"], func(r io.Reader) (any, error) {
		return decodeAll(gob.NewDecoder(r).Decode)
	}},
	"json": {writers["json"], func(r io.Reader) (any, error) {
		return decodeAll(json.NewDecoder(r).Decode)
	}},
	"csv":   {writers["csv"], func(r io.Reader) (any, error) { return csv.NewReader(r).ReadAll() }},
	"Fscan": {text("1 2 3"), readNumbers},
	"gzip": {writers["gzip"], func(r io.Reader) (any, error) {
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, err
		}
		return io.ReadAll(z)
	}},
	"flate cut off": {text(""), func(r io.Reader) (any, error) { return io.ReadAll(flate.NewReader(r)) }},
	"lzw": {writers["lzw"], func(r io.Reader) (any, error) {
		return io.ReadAll(lzw.NewReader(r, lzw.LSB, 8))
	}},
	"gif": {writers["gif"], func(r io.Reader) (any, error) {
		m, err := gif.Decode(r)
		if err != nil {
			return nil, err
		}
		return m.Bounds(), nil
	}},
	"gif cut off": {text("GIF89a"), func(r io.Reader) (any, error) {
		_, _, err := image.DecodeConfig(r)
		return nil, err
	}},
	"http.ReadRequest": {writers["http.Request with a body"], func(r io.Reader) (any, error) {
		req, err := http.ReadRequest(bufio.NewReader(r))
		if err != nil {
			return nil, err
		}
		return io.ReadAll(req.Body)
	}},
	"textproto": {text("A: 1\r\nB: 2\r\n\r\n"), func(r io.Reader) (any, error) {
		return textproto.NewReader(bufio.NewReader(r)).ReadMIMEHeader()
	}},
}

func readLines(r io.Reader) (any, error) {
	var lines []string
	s := bufio.NewScanner(r)
	for s.Scan() {
		lines = append(lines, s.Text())
	}
	return lines, s.Err()
}

func readTokens(r io.Reader) (any, error) {
	var tokens []string
	for d := xml.NewDecoder(r); ; {
		token, err := d.Token()
		if err == io.EOF {
			return tokens, nil
		}
		if err != nil {
			return tokens, err
		}
		tokens = append(tokens, fmt.Sprint(token))
	}
}

func readUvarints(r io.Reader) (any, error) {
	var numbers []uint64
	for {
		n, err := binary.ReadUvarint(r.(io.ByteReader))
		if err == io.EOF {
			return numbers, nil
		}
		if err != nil {
			return numbers, err
		}
		numbers = append(numbers, n)
	}
}

func decodeAll(decode func(any) error) (any, error) {
	var documents []document
	for {
		var d document
		err := decode(&d)
		if err == io.EOF {
			return documents, nil
		}
		if err != nil {
			return documents, err
		}
		documents = append(documents, d)
	}
}

func readNumbers(r io.Reader) (any, error) {
	var numbers []int
	for {
		var n int
		_, err := fmt.Fscan(r, &n)
		if err == io.EOF {
			return numbers, nil
		}
		if err != nil {
			return numbers, err
		}
		numbers = append(numbers, n)
	}
}

// Behaviour 9.5, 2.4: all of them get io.EOF at the end of the stream, and notice when the input was cut off.
func TestReadersOfTheStandardLibraryFindTheEnd(t *testing.T) {
	for name, reading := range readings {
		t.Run(name, func(t *testing.T) {
			var input bytes.Buffer
			require.NoError(t, reading.input(struct{ io.Writer }{&input}))
			want, wantErr := reading.read(bytes.NewReader(input.Bytes()))
			againstNet(t, func(t *testing.T, on sides) {
				overBothEnds(t, on, func(t *testing.T, conn net.Conn, peer *net.TCPConn) {
					_, err := peer.Write(input.Bytes())
					require.NoError(t, err)
					require.NoError(t, peer.CloseWrite())
					got, err := reading.read(byteReaderOf(conn))
					require.Equal(t, want, got)
					if wantErr == nil {
						require.NoError(t, err)
						return
					}
					require.Error(t, err)
					require.Equal(t, wantErr.Error(), err.Error())
					require.Equal(t, errors.Is(wantErr, io.ErrUnexpectedEOF), errors.Is(err, io.ErrUnexpectedEOF))
				})
			})
		})
	}
}

// byteReaderOf returns conn if it has ReadByte, as the library's connections do. Otherwise it returns a wrapper whose
// ReadByte reads a single byte.
func byteReaderOf(conn net.Conn) io.Reader {
	if _, ok := conn.(io.ByteReader); ok {
		return conn
	}
	return byteReader{conn}
}

type byteReader struct{ net.Conn }

func (r byteReader) ReadByte() (byte, error) {
	var p [1]byte
	_, err := io.ReadFull(r.Conn, p[:])
	return p[0], err
}
