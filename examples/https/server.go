package main

// This file holds the server. It answers requests that have arrived completely, so it never waits.

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/cloudwego/netpoll"
)

const (
	maxHead = 16 << 10
	maxBody = 1 << 20
)

// onRequest answers the requests that have arrived. When the rest of one arrives it is called again.
func onRequest(_ context.Context, conn netpoll.Connection) error {
	for {
		req, err := readRequest(conn.Reader())
		if err != nil {
			_ = answer(conn, http.StatusBadRequest, err.Error())
			return conn.Close()
		}
		if req == nil {
			return nil
		}
		session := conn.(*netpoll.TLSConnection).ConnectionState()
		text := fmt.Sprintf("%s with %d bytes over %s", req.Method, req.ContentLength, tls.VersionName(session.Version))
		if err := answer(conn, http.StatusOK, text); err != nil || req.Close {
			return errors.Join(err, conn.Close())
		}
	}
}

// readRequest reads the next request, with its body. It does not wait: the request is nil if it has not arrived completely.
func readRequest(r netpoll.Reader) (*http.Request, error) {
	have := min(r.Len(), maxHead)
	p, err := r.Peek(have)
	if err != nil {
		return nil, err
	}
	end := bytes.Index(p, []byte("\r\n\r\n"))
	if end < 0 {
		if have == maxHead {
			return nil, errors.New("the head of the request is too long")
		}
		return nil, nil
	}
	head := end + len("\r\n\r\n")
	req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(p[:head])))
	if err != nil {
		return nil, err
	}
	if req.ContentLength < 0 || req.ContentLength > maxBody {
		return nil, errors.New("a body needs a length, of at most 1 MiB")
	}
	whole := head + int(req.ContentLength)
	if r.Len() < whole {
		return nil, nil
	}
	if err := r.Skip(head); err != nil {
		return nil, err
	}
	body, err := r.ReadBinary(int(req.ContentLength)) // a copy, which outlives Release
	req.Body = io.NopCloser(bytes.NewReader(body))
	return req, errors.Join(err, r.Release())
}

// answer sends a response.
func answer(conn netpoll.Connection, code int, text string) error {
	response := &http.Response{
		StatusCode: code, ProtoMajor: 1, ProtoMinor: 1,
		ContentLength: int64(len(text)), Body: io.NopCloser(strings.NewReader(text)),
	}
	if err := response.Write(netpoll.NewIOWriter(conn.Writer())); err != nil {
		return err
	}
	return conn.Writer().Flush()
}
