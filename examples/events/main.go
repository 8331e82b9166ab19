// Command events runs an HTTP server that sends events for as long as the client listens (server-sent events), and a client
// of net/http that goes away. The work for a client ends with its connection. The server is in server.go.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/cloudwego/netpoll"
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// run serves on a free port until a client has listened, and has gone.
func run(ctx context.Context, w io.Writer) error {
	ended := make(chan error, 1)
	loop, err := newServer(func(reason error) { ended <- reason })
	if err != nil {
		return err
	}
	ln, err := netpoll.CreateListener("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- loop.Serve(ln) }()
	err = listen(ctx, "http://"+ln.Addr().String(), w)
	if err == nil {
		select {
		case reason := <-ended:
			fmt.Fprintf(w, "the work ended, because the client is gone: %v\n", errors.Is(reason, netpoll.ErrConnClosed))
		case <-time.After(30 * time.Second):
			err = errors.New("the work goes on without a client")
		}
	}
	return errors.Join(err, loop.Shutdown(ctx), <-served)
}

// listen is a client that reads three events and closes its connection.
func listen(ctx context.Context, url string, w io.Writer) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	transport := new(http.Transport)
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	events := bufio.NewScanner(response.Body)
	for n := 0; n < 3 && events.Scan(); {
		if data, ok := strings.CutPrefix(events.Text(), "data: "); ok {
			fmt.Fprintf(w, "event: %s\n", data)
			n++
		}
	}
	return events.Err()
}
