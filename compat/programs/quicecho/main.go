// Command quicecho runs a QUIC server and a client of quic-go over the library's UDP sockets: the server echoes each
// stream. It shows that a UDPConn goes where a *net.UDPConn would, and what to leave out: quic-go receives by the
// descriptor, so WithPacketGRO is not for it, and it has its own GSO.
package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"os"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/quic-go/quic-go"
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// run serves on a free port until the client has its answers.
func run(ctx context.Context, w io.Writer) error {
	server, client, err := certificate()
	if err != nil {
		return err
	}
	transport, err := newTransport()
	if err != nil {
		return err
	}
	ln, err := transport.Listen(server, nil)
	if err != nil {
		return errors.Join(err, closeTransport(transport))
	}
	served := make(chan error, 1)
	go func() { served <- serve(ctx, ln) }()
	err = ask(ctx, ln.Addr(), client, w)
	err = errors.Join(err, closeTransport(transport)) // which ends Accept
	if end := <-served; !errors.Is(end, quic.ErrTransportClosed) && !errors.Is(end, quic.ErrServerClosed) {
		err = errors.Join(err, end)
	}
	return err
}

// newTransport makes a transport on a socket of its own. quic-go asks the system for larger buffers by itself.
func newTransport() (*quic.Transport, error) {
	conn, err := netpoll.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	return &quic.Transport{Conn: conn}, nil
}

// closeTransport closes it and its socket, which quic-go leaves open.
func closeTransport(t *quic.Transport) error { return errors.Join(t.Close(), t.Conn.Close()) }

// serve echoes the streams of every connection.
func serve(ctx context.Context, ln *quic.Listener) error {
	for {
		conn, err := ln.Accept(ctx)
		if err != nil {
			return err
		}
		go func() {
			for {
				stream, err := conn.AcceptStream(ctx)
				if err != nil {
					return // the connection has ended
				}
				go func() {
					_, _ = io.Copy(stream, stream)
					_ = stream.Close()
				}()
			}
		}()
	}
}

// ask sends two texts, a stream for each.
func ask(ctx context.Context, to net.Addr, config *tls.Config, w io.Writer) error {
	transport, err := newTransport()
	if err != nil {
		return err
	}
	conn, err := transport.Dial(ctx, to, config, nil)
	for _, text := range []string{"hello", "and goodbye"} {
		if err == nil {
			err = echo(ctx, conn, text, w)
		}
	}
	if conn != nil {
		err = errors.Join(err, conn.CloseWithError(0, ""))
	}
	return errors.Join(err, closeTransport(transport))
}

func echo(ctx context.Context, conn *quic.Conn, text string, w io.Writer) error {
	stream, err := conn.OpenStreamSync(ctx)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(stream, text); err != nil {
		return err
	}
	if err := stream.Close(); err != nil {
		return err
	}
	answer, err := io.ReadAll(stream)
	fmt.Fprintf(w, "sent %q, got back %q\n", text, answer)
	return err
}

// certificate makes the configurations of a server and of its client.
func certificate() (server, client *tls.Config, err error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		return nil, nil, err
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	protocols := []string{"echo"}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: private}}, NextProtos: protocols},
		&tls.Config{RootCAs: roots, ServerName: "localhost", NextProtos: protocols}, nil
}
