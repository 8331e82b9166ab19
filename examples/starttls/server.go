package main

// This file holds the server. A request is a line, and so is the answer. HELLO is answered with what protects the
// connection, STARTTLS begins TLS.

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"strings"

	"github.com/cloudwego/netpoll"
)

// maxLine limits how much a client can make the server buffer.
const maxLine = 1 << 10

type server struct{ config *tls.Config }

func newServer(config *tls.Config) (netpoll.EventLoop, error) {
	return netpoll.NewEventLoop((&server{config}).onRequest)
}

// onRequest answers the lines that have arrived, before and after the change to TLS.
func (s *server) onRequest(_ context.Context, conn netpoll.Connection) error {
	for {
		line, err := readLine(conn.Reader())
		if err != nil {
			return errors.Join(err, conn.Close())
		}
		session, secure := conn.(*netpoll.TLSConnection)
		switch {
		case line == "": // it has not arrived completely
			return nil
		case line == "STARTTLS" && !secure:
			return s.startTLS(conn)
		case line != "HELLO":
			err = answer(conn, "what?")
		case secure:
			err = answer(conn, "hello over "+tls.VersionName(session.ConnectionState().Version))
		default:
			err = answer(conn, "hello, anybody can read this")
		}
		if err != nil {
			return err
		}
	}
}

// startTLS agrees, and goes on with a new connection in place of conn. What the client has sent behind its STARTTLS is the
// beginning of its handshake: input in plain text is never taken for something that came over TLS.
func (s *server) startTLS(conn netpoll.Connection) error {
	if err := answer(conn, "go ahead"); err != nil {
		return err
	}
	session, err := netpoll.TLSServer(conn, s.config)
	if err != nil {
		return err
	}
	return session.SetOnRequest(s.onRequest) // the handshake begins
}

// readLine reads a line without its end. It does not wait: the line is empty if it has not arrived completely.
func readLine(r netpoll.Reader) (string, error) {
	p, err := r.Peek(min(r.Len(), maxLine))
	if err != nil {
		return "", err
	}
	end := bytes.IndexByte(p, '\n')
	if end < 0 && len(p) == maxLine {
		return "", errors.New("the line is too long")
	}
	if end < 0 {
		return "", nil
	}
	line, err := r.ReadString(end + 1)
	return strings.TrimRight(line, "\r\n"), errors.Join(err, r.Release())
}

func answer(conn netpoll.Connection, text string) error {
	if _, err := conn.Writer().WriteString(text + "\n"); err != nil {
		return err
	}
	return conn.Writer().Flush()
}
