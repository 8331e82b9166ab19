package main

// This file holds the client.

import (
	"crypto/tls"
	"fmt"
	"io"
	"time"

	"github.com/cloudwego/netpoll"
)

func talk(addr string, config *tls.Config, w io.Writer) error {
	plain, err := netpoll.DialConnection("tcp", addr, time.Second)
	if err != nil {
		return err
	}
	defer plain.Close() // has no effect after the change
	for _, line := range []string{"HELLO", "STARTTLS"} {
		if err := ask(plain, line, w); err != nil {
			return err
		}
	}
	secure, err := netpoll.TLSClient(plain, config)
	if err != nil {
		return err
	}
	defer secure.Close()
	if err := secure.Handshake(); err != nil { // the next call would do it, too
		return err
	}
	for _, line := range []string{"HELLO", "STARTTLS"} {
		if err := ask(secure, line, w); err != nil {
			return err
		}
	}
	return nil
}

// ask sends a line and prints the answer.
func ask(conn netpoll.Connection, line string, w io.Writer) error {
	if err := answer(conn, line); err != nil {
		return err
	}
	reply, err := conn.Reader().Until('\n')
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%s: %s", line, reply)
	return conn.Reader().Release()
}
