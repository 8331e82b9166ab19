package frame

// This file holds the same payloads as bodies of HTTP/1.1 requests and responses.

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// maxHead is the limit for the head of a response, in bytes.
const maxHead = 4 << 10

// HTTP makes requests that post a payload and expect it back.
type HTTP struct {
	head string
	t    *Template
}

// NewHTTP makes requests with the payloads of t.
func NewHTTP(t *Template) *HTTP {
	return &HTTP{
		head: fmt.Sprintf("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n", t.Len()-HeaderLen),
		t:    t,
	}
}

// Len returns the length of a request, in bytes.
func (h *HTTP) Len() int { return len(h.head) + h.t.Len() - HeaderLen }

// Put writes a request to dst.
func (h *HTTP) Put(dst []byte, stamp uint64) {
	// The message is put so that the head overwrites its four bytes of length.
	h.t.Put(dst[len(h.head)-HeaderLen:], stamp)
	copy(dst, h.head)
}

// Checker returns a checker of responses.
func (h *HTTP) Checker(first uint64) Checker {
	return &httpChecker{body: checker{t: h.t, next: first, off: HeaderLen}}
}

// httpChecker checks the head of each response, and its body as that of a frame.
type httpChecker struct {
	head   []byte // the part of a head that has come
	inBody bool
	body   checker
}

// Feed checks the next bytes of the stream.
func (c *httpChecker) Feed(p []byte) (done int, err error) {
	for len(p) > 0 {
		if !c.inBody {
			rest, whole, err := c.feedHead(p)
			if err != nil {
				return done, err
			}
			if !whole {
				return done, nil
			}
			p, c.inBody = rest, true
		}
		n := min(len(p), len(c.body.t.image)-c.body.off)
		got, err := c.body.Feed(p[:n])
		if err != nil {
			return done, err
		}
		p = p[n:]
		if got > 0 {
			done++
			c.body.off, c.inBody = HeaderLen, false
		}
	}
	return done, nil
}

// feedHead takes the head from p, and returns what follows it.
func (c *httpChecker) feedHead(p []byte) (rest []byte, whole bool, err error) {
	had := len(c.head)
	c.head = append(c.head, p...)
	end := bytes.Index(c.head, []byte("\r\n\r\n"))
	if end < 0 {
		if len(c.head) > maxHead {
			return nil, false, errors.New("the head of the response does not end")
		}
		return nil, false, nil
	}
	err = c.checkHead(c.head[:end+2])
	c.head = c.head[:0]
	return p[end+4-had:], true, err
}

// checkHead returns an error unless the head has status 200 and the expected length of the body.
func (c *httpChecker) checkHead(head []byte) error {
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 200 ")) {
		return fmt.Errorf("response begins with %.40q", head)
	}
	n, err := ContentLength(head)
	if err == nil && n != len(c.body.t.image)-HeaderLen {
		err = fmt.Errorf("response has %d bytes", n)
	}
	return err
}

var (
	lineEnd       = []byte("\r\n")
	contentLength = []byte("content-length")
)

// ContentLength returns the Content-Length of a head, 0 if it has none.
func ContentLength(head []byte) (int, error) {
	for len(head) > 0 {
		var line []byte
		line, head, _ = bytes.Cut(head, lineEnd)
		if len(line) <= len(contentLength) || line[len(contentLength)] != ':' ||
			!bytes.EqualFold(line[:len(contentLength)], contentLength) {
			continue
		}
		return strconv.Atoi(string(bytes.TrimSpace(line[len(contentLength)+1:])))
	}
	return 0, nil
}
