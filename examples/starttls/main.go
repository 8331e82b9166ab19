// Command starttls runs a server and a client whose connection changes to TLS while it is in use, as in SMTP, IMAP and
// others: the client asks with STARTTLS, the server agrees, and the handshake follows on the same connection. server.go
// and client.go have the two ends.
package main

import (
	"context"
	"errors"
	"io"
	"log"
	"os"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/examples/internal/cert"
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// run serves on a free port until the client has finished.
func run(ctx context.Context, w io.Writer) error {
	serverConfig, clientConfig, err := cert.New()
	if err != nil {
		return err
	}
	clientConfig.ServerName = "127.0.0.1" // TLSClient does not know what was dialed
	loop, err := newServer(serverConfig)
	if err != nil {
		return err
	}
	ln, err := netpoll.CreateListener("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- loop.Serve(ln) }()
	err = talk(ln.Addr().String(), clientConfig, w)
	return errors.Join(err, loop.Shutdown(ctx), <-served)
}
