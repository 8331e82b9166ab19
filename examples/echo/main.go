// Command echo runs an echo server and a client that talks to it over a real socket, and prints what happened.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"github.com/cloudwego/netpoll"
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// run serves on a free port until the client has finished.
func run(ctx context.Context, w io.Writer) error {
	loop, err := netpoll.NewEventLoop(echo)
	if err != nil {
		return err
	}
	ln, err := netpoll.CreateListener("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- loop.Serve(ln) }() // Serve blocks until Shutdown
	fmt.Fprintf(w, "server: listening on %v\n", ln.Addr())

	err = talk(ln.Addr().String(), w)
	err = errors.Join(err, loop.Shutdown(ctx), <-served)
	fmt.Fprintln(w, "server: shut down")
	return err
}

// echo is the handler: it is called when a connection has input, never twice at once for one connection.
func echo(_ context.Context, conn netpoll.Connection) error {
	reader, writer := conn.Reader(), conn.Writer()
	defer reader.Release() // gives back the memory that Next returned

	input, err := reader.Next(reader.Len()) // everything that has arrived, without a copy
	if err != nil {
		return err
	}
	if _, err := writer.WriteBinary(input); err != nil {
		return err
	}
	return writer.Flush() // sends
}

// talk is the client.
func talk(addr string, w io.Writer) error {
	conn, err := netpoll.DialConnection("tcp", addr, time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()

	for _, line := range []string{"hello\n", "and goodbye\n"} {
		if _, err := conn.Write([]byte(line)); err != nil { // a Connection is a net.Conn too
			return err
		}
		answer, err := conn.Reader().ReadString(len(line)) // waits until that much has arrived
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "client: sent %q, got back %q\n", line, answer)
	}
	return nil
}
