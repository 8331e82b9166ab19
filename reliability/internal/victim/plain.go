package victim

// This file holds the same server over package net, with a goroutine for each connection. The effect of an attack on it
// shows how much of the effect on the library's server is due to the machine.

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// servePlain accepts until ln is closed. Of Config it supports MaxConns, TurnAway, MaxFrame and the timeouts.
func (s *server) servePlain(ln net.Listener) error {
	var places chan struct{} // nil: no limit
	if s.config.MaxConns > 0 {
		places = make(chan struct{}, s.config.MaxConns)
	}
	for {
		if places != nil {
			places <- struct{}{}
		}
		conn, err := ln.Accept()
		for err != nil {
			if errors.Is(err, net.ErrClosed) {
				return err
			}
			time.Sleep(10 * time.Millisecond) // no descriptors left
			conn, err = ln.Accept()
		}
		now := s.count()
		go func() {
			if s.config.TurnAway == 0 || now <= int64(s.config.TurnAway) {
				_ = s.servePlainConn(conn)
			}
			_ = conn.Close()
			s.connections.Add(-1)
			if places != nil {
				<-places
			}
		}()
	}
}

// servePlainConn answers until the connection fails or ends.
func (s *server) servePlainConn(conn net.Conn) error {
	if err := s.handshake(conn); err != nil {
		return err
	}
	r, w := bufio.NewReader(conn), bufio.NewWriter(conn)
	var body bytes.Buffer
	for {
		if err := s.readPlain(conn, r, &body); err != nil {
			return err
		}
		answer, err := s.answerTo(body.Bytes())
		if err != nil {
			return err
		}
		if answer != nil {
			if err := s.writePlain(conn, w, answer); err != nil {
				return err
			}
		}
		s.requests.Add(1)
	}
}

// readPlain reads a frame. Its buffer grows with the bytes that arrive, not with the size in the header.
func (s *server) readPlain(conn net.Conn, r *bufio.Reader, body *bytes.Buffer) error {
	if err := conn.SetReadDeadline(after(s.config.IdleLimit)); err != nil {
		return err
	}
	if _, err := r.Peek(1); err != nil {
		return err
	}
	if s.config.ReadTimeout != 0 {
		if err := conn.SetReadDeadline(after(s.config.ReadTimeout)); err != nil {
			return err
		}
	}
	var header [headerSize]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return err
	}
	size := int64(binary.BigEndian.Uint32(header[:]))
	if size == 0 || size > int64(s.config.MaxFrame) {
		return fmt.Errorf("frame of %d bytes: 1 to %d are allowed", size, s.config.MaxFrame)
	}
	body.Reset()
	_, err := io.CopyN(body, r, size)
	return err
}

func (s *server) writePlain(conn net.Conn, w *bufio.Writer, answer []byte) error {
	if err := conn.SetWriteDeadline(after(s.config.WriteTimeout)); err != nil {
		return err
	}
	_, _ = w.Write(binary.BigEndian.AppendUint32(nil, uint32(len(answer)))) // Flush returns the error
	_, _ = w.Write(answer)
	return w.Flush()
}

// after returns the deadline after d, or none if d is 0.
func after(d time.Duration) time.Time {
	if d == 0 {
		return time.Time{}
	}
	return time.Now().Add(d)
}
