// Command chat runs a chat room: each line of a member goes to all others. A member that does not read holds up nobody, and
// is turned out when too much waits for it. The room is in room.go.
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

// run serves on a free port until two members have talked.
func run(ctx context.Context, w io.Writer) error {
	r := newRoom()
	loop, err := netpoll.NewEventLoop(r.onRequest, netpoll.WithOnConnect(r.join))
	if err != nil {
		return err
	}
	ln, err := netpoll.CreateListener("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- loop.Serve(ln) }()
	err = talk(ln.Addr().String(), w)
	return errors.Join(err, loop.Shutdown(ctx), <-served)
}

// talk is two members.
func talk(addr string, w io.Writer) error {
	ann, err := enter(addr)
	if err != nil {
		return err
	}
	defer ann.Close()
	ben, err := enter(addr)
	if err != nil {
		return err
	}
	defer ben.Close()
	for _, turn := range []struct {
		from, to netpoll.Connection
		line     string
	}{{ann, ben, "hello"}, {ben, ann, "hello to you"}} {
		if _, err := turn.from.Write([]byte(turn.line + "\n")); err != nil {
			return err
		}
		line, err := turn.to.Reader().Until('\n')
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%q arrives as %q\n", turn.line, line)
	}
	return nil
}

// enter dials, and waits until the room knows the member.
func enter(addr string) (netpoll.Connection, error) {
	conn, err := netpoll.DialConnection("tcp", addr, 5*time.Second)
	if err != nil {
		return nil, err
	}
	_, err = conn.Reader().Until('\n') // welcome
	return conn, err
}
