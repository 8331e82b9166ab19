//go:build !original

package programs

// TLS with other implementations at the other end: the programs of GnuTLS, nghttp2 and curl. OpenSSL's is in
// tls_openssl_test.go.

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/smtp"
	"regexp"
	"strings"
	"testing"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

// startLineEcho returns the address of an event loop that sends each line back over TLS.
func startLineEcho(t *testing.T, l *tlsLayer) net.Addr {
	return testnet.NewServer(t, "tcp", echoLine, l.option()).Addr()
}

func echoLine(_ context.Context, conn netpoll.Connection) error {
	line, err := readLine(conn)
	if err != nil {
		return conn.Close() // the client has left
	}
	_, err = conn.Writer().WriteString(line + "\n")
	return errors.Join(err, conn.Writer().Flush())
}

// gnutls starts gnutls-cli for an address. It ends with the test.
func gnutls(t *testing.T, l *tlsLayer, addr net.Addr, args ...string) (in io.WriteCloser, out *bufio.Reader) {
	host, port, err := net.SplitHostPort(addr.String())
	require.NoError(t, err)
	args = append([]string{"--x509cafile", fileOf(t, l.pem), "-p", port}, append(args, host)...)
	return talkTo(t, "gnutls-cli", args...)
}

func TestTLSServesGnuTLS(t *testing.T) {
	for version, rekey := range map[string]string{"1.2": "", "1.3": "^rekey^"} {
		t.Run(version, func(t *testing.T) {
			layer := newTLSLayer(t, "lines")
			addr := startLineEcho(t, layer)
			in, out := gnutls(t, layer, addr, "--priority", "NORMAL:-VERS-ALL:+VERS-TLS"+version, "--alpn", "lines",
				"--inline-commands")
			expectLine(t, out, "- Application protocol: lines")
			expectLine(t, out, "- Simple Client Mode")
			for i := range 5 { // GnuTLS takes 8 changes of keys in a second
				text := fmt.Sprintf("line %d\n", i)
				_, err := io.WriteString(in, text)
				require.NoError(t, err)
				expectLine(t, out, text)
				if rekey != "" {
					_, err := io.WriteString(in, rekey+"\n")
					require.NoError(t, err)
					expectLine(t, out, "- Rekey was completed")
				}
			}
			require.NoError(t, in.Close()) // it sends close_notify, and waits for that of the server
		})
	}
}

func TestTLSSessionIsResumedByGnuTLS(t *testing.T) {
	for _, version := range []string{"1.2", "1.3"} {
		t.Run(version, func(t *testing.T) {
			layer := newTLSLayer(t)
			addr := startLineEcho(t, layer)
			in, out := gnutls(t, layer, addr, "--priority", "NORMAL:-VERS-ALL:+VERS-TLS"+version,
				"--resume", "--waitresumption")
			expectLine(t, out, "*** This is a resumed session")
			_, err := io.WriteString(in, "hello\n")
			require.NoError(t, err)
			expectLine(t, out, "hello")
		})
	}
}

var countsOfH2load = regexp.MustCompile(`requests: (\d+) total, \d+ started, \d+ done, (\d+) succeeded,`)

func TestH2loadFindsNoWrongAnswer(t *testing.T) {
	const requests = "2000"
	for _, p := range protocols {
		if p == http2Plain || p == http1 {
			continue
		}
		t.Run(p.String(), func(t *testing.T) {
			s := startSite(t, sides{server: true}, p, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = w.Write(pattern(1, 20_000))
			}))
			args := []string{"-n", requests, "-c", "10", s.url + "/"}
			if p.version() == 1 {
				args = append(args, "--h1")
			} else {
				args = append(args, "-m", "10")
			}
			out, err := tool(t, "h2load", args...).CombinedOutput()
			require.NoError(t, err, string(out))
			counts := countsOfH2load.FindStringSubmatch(string(out))
			require.NotNil(t, counts, string(out))
			require.Equal(t, []string{requests, requests}, counts[1:], string(out))
			require.Contains(t, string(out), "status codes: "+requests+" 2xx")
		})
	}
}

// mailServer speaks as much SMTP as clients need to change to TLS and send a mail. It takes no mail without TLS.
type mailServer struct {
	addr  net.Addr
	layer *tlsLayer
	mails chan string
}

func startMail(t *testing.T) *mailServer {
	s := &mailServer{layer: newTLSLayer(t), mails: make(chan string, 16)}
	s.addr = testnet.NewServer(t, "tcp", s.onRequest, netpoll.WithOnConnect(
		func(ctx context.Context, conn netpoll.Connection) context.Context {
			_ = answerMail(conn, "220 test ESMTP")
			return ctx
		})).Addr()
	return s
}

func answerMail(conn netpoll.Connection, text string) error {
	_, err := conn.Writer().WriteString(text + "\r\n")
	return errors.Join(err, conn.Writer().Flush())
}

// onRequest answers one command.
func (s *mailServer) onRequest(_ context.Context, conn netpoll.Connection) error {
	line, err := readLine(conn)
	if err != nil {
		return conn.Close()
	}
	_, secure := conn.(*netpoll.TLSConnection)
	switch command, _, _ := strings.Cut(strings.ToUpper(line), " "); {
	case command == "EHLO" && secure:
		return answerMail(conn, "250 test")
	case command == "EHLO":
		return answerMail(conn, "250-test\r\n250 STARTTLS")
	case command == "STARTTLS" && !secure:
		if err := answerMail(conn, "220 go ahead"); err != nil {
			return err
		}
		session, err := netpoll.TLSServer(conn, s.layer.server)
		if err != nil {
			return err
		}
		return session.SetOnRequest(s.onRequest)
	case command == "QUIT":
		return errors.Join(answerMail(conn, "221 bye"), conn.Close())
	case !secure:
		return answerMail(conn, "530 only with TLS")
	case command == "DATA":
		return s.take(conn)
	default: // MAIL, RCPT, NOOP
		return answerMail(conn, "250 ok")
	}
}

// take reads a mail.
func (s *mailServer) take(conn netpoll.Connection) error {
	if err := answerMail(conn, "354 go ahead"); err != nil {
		return err
	}
	var mail strings.Builder
	for {
		line, err := readLine(conn)
		if err != nil {
			return conn.Close()
		}
		if line == "." {
			s.mails <- mail.String()
			return answerMail(conn, "250 ok")
		}
		mail.WriteString(line + "\n")
	}
}

// readLine reads a line without its end.
func readLine(conn netpoll.Connection) (string, error) {
	line, err := conn.Reader().Until('\n')
	if err != nil {
		return "", err
	}
	defer conn.Reader().Release()
	return strings.TrimRight(string(line), "\r\n"), nil
}

func TestMailClientsChangeToTLS(t *testing.T) {
	const mail = "Subject: test\n\nhello\n"
	t.Run("curl", func(t *testing.T) {
		s := startMail(t)
		site := &outsideSite{authority: fileOf(t, s.layer.pem)}
		for range 3 {
			site.curl(t, []byte(mail), "--ssl-reqd", "--mail-from", "a@test", "--mail-rcpt", "b@test", "--crlf", "-T", "-",
				"smtp://"+s.addr.String())
			require.Equal(t, mail, await(t, s.mails, "the mail"))
		}
	})
	t.Run("net/smtp", func(t *testing.T) {
		s := startMail(t)
		c, err := smtp.Dial(s.addr.String())
		require.NoError(t, err)
		require.NoError(t, c.StartTLS(s.layer.client))
		require.NoError(t, c.Mail("a@test"))
		require.NoError(t, c.Rcpt("b@test"))
		w, err := c.Data()
		require.NoError(t, err)
		_, err = io.WriteString(w, mail)
		require.NoError(t, err)
		require.NoError(t, w.Close())
		require.Equal(t, mail, await(t, s.mails, "the mail"))
		require.NoError(t, c.Quit())
	})
	t.Run("gnutls-cli", func(t *testing.T) {
		s := startMail(t)
		in, out := gnutls(t, s.layer, s.addr, "--starttls-proto=smtp")
		s.talk(t, in, out, "- Simple Client Mode")
	})
	t.Run("openssl", func(t *testing.T) {
		s := startMail(t)
		in, out := openssl(t, "s_client", "-starttls", "smtp", "-connect", s.addr.String(), "-crlf", "-verify_return_error",
			"-CAfile", fileOf(t, s.layer.pem))
		s.talk(t, in, out, "Verify return code: 0 (ok)")
	})
}

// talk sends a mail by hand, when the line ready has come.
func (s *mailServer) talk(t *testing.T, in io.Writer, out *bufio.Reader, ready string) {
	expectLine(t, out, ready)
	for _, command := range []string{"NOOP\n250 ok", "DATA\n354 ", "hello\n.\n250 ok"} {
		at := strings.LastIndex(command, "\n") + 1
		_, err := io.WriteString(in, command[:at])
		require.NoError(t, err)
		expectLine(t, out, command[at:])
	}
	require.Equal(t, "hello\n", await(t, s.mails, "the mail"))
}
