// Command websocket runs a WebSocket server on an event loop, with the protocol of gobwas/ws, and a client of that package.
// A connection that waits costs no goroutine. The server is in server.go.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"

	"github.com/cloudwego/netpoll"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// run serves on a free port until the client has finished.
func run(ctx context.Context, w io.Writer) error {
	loop, err := netpoll.NewEventLoop(upgrade)
	if err != nil {
		return err
	}
	ln, err := netpoll.CreateListener("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- loop.Serve(ln) }()
	err = talk(ctx, ln.Addr().String(), w)
	return errors.Join(err, loop.Shutdown(ctx), <-served)
}

// talk is the client.
func talk(ctx context.Context, addr string, w io.Writer) error {
	conn, _, _, err := ws.Dial(ctx, "ws://"+addr+"/echo")
	if err != nil {
		return err
	}
	defer conn.Close()
	for _, text := range []string{"hello", "and goodbye"} {
		if err := wsutil.WriteClientText(conn, []byte(text)); err != nil {
			return err
		}
		answer, err := wsutil.ReadServerText(conn)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "sent %q, got back %q\n", text, answer)
	}
	return nil
}
