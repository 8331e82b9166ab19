// Command rpc makes many concurrent calls over one connection. Requests and replies are frames with a length and the
// number of the call, so replies may come in any order. frame.go has the format, client.go and server.go have the two
// ends. With the flag -tls the connection has TLS, which changes how it is made and nothing else.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"sync"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/examples/internal/cert"
)

func main() {
	secure := flag.Bool("tls", false, "with TLS")
	flag.Parse()
	if err := run(context.Background(), os.Stdout, *secure); err != nil {
		log.Fatal(err)
	}
}

const callers = 100

// run makes a slow call, and many others on the same connection, which are answered meanwhile.
func run(ctx context.Context, w io.Writer, secure bool) (err error) {
	var serverConfig, clientConfig *tls.Config // nil: no TLS
	if secure {
		if serverConfig, clientConfig, err = cert.New(); err != nil {
			return err
		}
	}
	gate := make(chan struct{}) // holds back the answer to "slow"
	srv, err := newServer(func(request string) string {
		if request == "slow" {
			<-gate
		}
		return strings.ToUpper(request)
	}, netpoll.WithTLSConfig(serverConfig))
	if err != nil {
		return err
	}
	ln, err := netpoll.CreateListener("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()

	c, err := dial(ctx, ln.Addr().String(), clientConfig)
	if err == nil {
		err = callAll(ctx, c, gate, w)
	}
	return errors.Join(err, srv.Shutdown(ctx), <-served)
}

func callAll(ctx context.Context, c *client, gate chan struct{}, w io.Writer) error {
	defer c.Close()

	slow := make(chan string, 1)
	go func() {
		reply, err := c.Call(ctx, "slow")
		slow <- fmt.Sprintf("%s, error %v", reply, err)
	}()

	var group sync.WaitGroup
	errs := make([]error, callers)
	for i := range callers {
		group.Go(func() {
			request := fmt.Sprintf("call %d", i)
			reply, err := c.Call(ctx, request)
			if err == nil && reply != strings.ToUpper(request) {
				err = fmt.Errorf("the answer to %q is %q", request, reply)
			}
			errs[i] = err
		})
	}
	group.Wait()
	fmt.Fprintf(w, "%d concurrent calls on one connection: error %v\n", callers, errors.Join(errs...))
	fmt.Fprintf(w, "the slow call was overtaken: %v\n", len(slow) == 0)
	close(gate)
	fmt.Fprintf(w, "the slow call: %s\n", <-slow)

	c.Close()
	_, err := c.Call(ctx, "too late")
	fmt.Fprintf(w, "a call after Close: is ErrConnClosed %v\n", errors.Is(err, netpoll.ErrConnClosed))
	return errors.Join(errs...)
}
