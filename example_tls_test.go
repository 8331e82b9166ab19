package netpoll_test

import (
	"context"
	"crypto/tls"
	"log"

	"github.com/cloudwego/netpoll"
)

// A protocol that changes to TLS: the client asks for it in plain text.
func ExampleTLSServer() {
	config := new(tls.Config) // with a certificate
	secure := func(ctx context.Context, conn netpoll.Connection) error {
		line, err := conn.Reader().Until('\n') // plaintext of the session
		if err == nil {
			_, err = conn.Write(line)
		}
		return err
	}
	loop, err := netpoll.NewEventLoop(func(ctx context.Context, conn netpoll.Connection) error {
		if _, err := conn.Reader().Until('\n'); err != nil {
			return err
		}
		if _, err := conn.Write([]byte("220 ready\n")); err != nil {
			return err
		}
		upgraded, err := netpoll.TLSServer(conn, config) // conn is closed from here on
		if err != nil {
			return err
		}
		return upgraded.SetOnRequest(secure)
	})
	if err != nil {
		log.Fatal(err)
	}
	_ = loop.Shutdown(context.Background())
}
