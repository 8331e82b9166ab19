// Command sidecar runs a program and a proxy in front of it, as they are deployed together: clients reach the proxy over TCP,
// and the proxy reaches the program through shared memory. The program serves connections like any others.
//
// Here both are in one process; shared memory is for two. It exists on Linux. Elsewhere, and where the system gives none,
// Fallback lets both sides use a Unix socket.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cloudwego/netpoll"
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// run sends a message through both.
func run(ctx context.Context, w io.Writer) error {
	dir, err := os.MkdirTemp("", "sidecar")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	program, err := netpoll.NewEventLoop(answer)
	if err != nil {
		return err
	}
	inside, err := listenShm(filepath.Join(dir, "program.sock"))
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- program.Serve(inside) }()

	outside, err := netpoll.CreateListener("tcp", "127.0.0.1:0")
	if err == nil {
		go serveSidecar(outside, inside.Addr().String())
		err = errors.Join(ask(ctx, outside.Addr().String(), w), outside.Close())
	}
	return errors.Join(err, program.Shutdown(ctx), <-served)
}

// shared are the settings of both sides.
var shared = netpoll.ShmConfig{Fallback: true}

func listenShm(path string) (netpoll.Listener, error) {
	inner, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	ln, err := netpoll.NewShmListener(inner, shared)
	if err != nil {
		return nil, errors.Join(err, inner.Close())
	}
	return ln, nil
}

// answer is the program: it answers each line in capitals.
func answer(_ context.Context, conn netpoll.Connection) error {
	line, err := conn.Reader().Until('\n')
	if err != nil {
		return err
	}
	if _, err := conn.Writer().WriteString(strings.ToUpper(string(line))); err != nil {
		return err
	}
	return errors.Join(conn.Writer().Flush(), conn.Reader().Release())
}

// serveSidecar forwards what comes to ln to the program, until ln is closed.
func serveSidecar(ln net.Listener, program string) {
	for {
		client, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer client.Close()
			if err := forward(client, program); err != nil {
				log.Print(err)
			}
		}()
	}
}

// forward connects client with the program, each direction by itself.
func forward(client net.Conn, program string) error {
	dialer := netpoll.ShmDialer{Config: shared}
	conn, err := dialer.DialTimeout("shm", program, time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	sent := make(chan error, 1)
	go func() { sent <- copyAndEnd(conn, client) }()
	return errors.Join(copyAndEnd(client, conn), <-sent)
}

// copyAndEnd passes the stream on, and its end.
func copyAndEnd(to, from net.Conn) error {
	if _, err := io.Copy(to, from); err != nil {
		return err
	}
	return to.(netpoll.HalfCloser).CloseWrite()
}

// ask is a client, which knows nothing of shared memory.
func ask(ctx context.Context, addr string, w io.Writer) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "hello\nand goodbye\n"); err != nil {
		return err
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	answers, err := io.ReadAll(conn)
	fmt.Fprintf(w, "answers: %q\n", answers)
	return err
}
