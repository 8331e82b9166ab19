//go:build !original

package programs

// TLS with a second implementation at the other end: the openssl program.

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

// openssl starts the program, with its input. It ends with the test.
func openssl(t *testing.T, args ...string) (in io.Writer, out *bufio.Reader) {
	t.Helper()
	return talkTo(t, "openssl", args...)
}

// talkTo starts a program, with its input. It ends with the test.
func talkTo(t *testing.T, name string, args ...string) (in io.WriteCloser, out *bufio.Reader) {
	t.Helper()
	cmd := tool(t, name, args...)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = cmd.Stdout
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return in, bufio.NewReader(stdout)
}

// expectLine reads lines until one has the prefix.
func expectLine(t *testing.T, r *bufio.Reader, prefix string) (line string) {
	t.Helper()
	testkit.Within(t, testkit.Timeout, func() {
		var err error
		for !strings.HasPrefix(line, prefix) && err == nil {
			line, err = r.ReadString('\n')
		}
	})
	require.True(t, strings.HasPrefix(line, prefix), "no line %q", prefix)
	return line
}

// A client of OpenSSL that changes its keys in the middle.
func TestTLSServesOpenSSL(t *testing.T) {
	config, _ := tlsConfigs(t)
	server := testnet.NewServer(t, "tcp", func(_ context.Context, conn netpoll.Connection) error {
		_, err := conn.Writer().WriteString(lineOf(t, conn))
		return errors.Join(err, conn.Writer().Flush())
	}, netpoll.WithTLSConfig(config))
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		t.Run(version, func(t *testing.T) {
			in, out := openssl(t, "s_client", "-connect", server.Addr().String(), version)
			expectLine(t, out, "---")
			for i := range 10 {
				text := fmt.Sprintf("line %d\n", i)
				_, err := io.WriteString(in, text)
				require.NoError(t, err)
				expectLine(t, out, text)
				if version == "-tls1_3" { // K asks for a KeyUpdate of the other side, k does not
					_, err := io.WriteString(in, []string{"K\n", "k\n"}[i%2])
					require.NoError(t, err)
					expectLine(t, out, "KEYUPDATE")
				}
			}
		})
	}
}

// Its records are cut small, it names a protocol, shows a certificate, and resumes its session.
func TestTLSSessionIsResumedByOpenSSL(t *testing.T) {
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		t.Run(version, func(t *testing.T) {
			layer := newTLSLayer(t, "lines")
			identity, clients, _ := certificate(t)
			layer.server.ClientAuth, layer.server.ClientCAs = tls.RequireAndVerifyClientCert, clients
			sessions := make(chan tls.ConnectionState, 1)
			addr := testnet.NewServer(t, "tcp", echoLine, layer.option(), netpoll.WithOnConnect(
				func(ctx context.Context, conn netpoll.Connection) context.Context {
					sessions <- conn.(*netpoll.TLSConnection).ConnectionState()
					return ctx
				})).Addr().String()
			own, kept := pemFile(t, identity), filepath.Join(t.TempDir(), "session.pem")
			for _, resumed := range []bool{false, true} {
				args := []string{"s_client", "-connect", addr, version, "-alpn", "lines", "-max_send_frag", "512",
					"-CAfile", fileOf(t, layer.pem), "-verify_return_error", "-cert", own, "-key", own, "-sess_out", kept}
				if resumed {
					args = append(args, "-sess_in", kept)
				}
				in, out := openssl(t, args...)
				text := strings.Repeat("a line of several records ", 200) + "\n"
				_, err := io.WriteString(in, text)
				require.NoError(t, err)
				expectLine(t, out, text)
				session := await(t, sessions, "the session")
				require.Equal(t, resumed, session.DidResume)
				require.Equal(t, "lines", session.NegotiatedProtocol)
				require.Len(t, session.VerifiedChains, 1)
				_, err = io.WriteString(in, "Q\n") // it writes the session when it ends
				require.NoError(t, err)
				_, err = io.Copy(io.Discard, out)
				require.NoError(t, err)
			}
		})
	}
}

// lineOf reads a line.
func lineOf(t *testing.T, conn netpoll.Connection) string {
	line, err := conn.Reader().Until('\n')
	require.NoError(t, err)
	defer conn.Reader().Release()
	return string(line)
}

// pemFile writes the certificate and the key of a server, or client, to a file.
func pemFile(t *testing.T, config *tls.Config) string {
	t.Helper()
	key, err := x509.MarshalECPrivateKey(config.Certificates[0].PrivateKey.(*ecdsa.PrivateKey))
	require.NoError(t, err)
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: config.Certificates[0].Certificate[0]})
	return fileOf(t, append(text, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: key})...))
}

// opensslServer starts a server of OpenSSL that echoes lines backwards.
func opensslServer(t *testing.T, config *tls.Config, args ...string) (in io.Writer, out *bufio.Reader, addr string) {
	t.Helper()
	file := pemFile(t, config)
	in, out = openssl(t, append([]string{"s_server", "-accept", "127.0.0.1:0", "-cert", file, "-key", file}, args...)...)
	line := expectLine(t, out, "ACCEPT ")
	return in, out, strings.TrimSpace(strings.TrimPrefix(line, "ACCEPT "))
}

// A server asks a client for a new handshake, which only TLS 1.2 has.
func TestTLSClientThatAllowsRenegotiation(t *testing.T) {
	config, client := tlsConfigs(t)
	client.MaxVersion, client.Renegotiation = tls.VersionTLS12, tls.RenegotiateFreelyAsClient
	in, out, addr := opensslServer(t, config, "-tls1_2")
	conn, err := (&netpoll.TLSDialer{Config: client}).DialConnection("tcp", addr, testkit.Timeout)
	require.NoError(t, err)
	defer conn.Close()
	for i := range 5 {
		text := fmt.Sprintf("to the server %d\n", i)
		testkit.Send(t, conn, text)
		expectLine(t, out, text)
		_, err := io.WriteString(in, "r\n")
		require.NoError(t, err)
		expectLine(t, out, "SSL_do_handshake") // it reads commands in blocks
		text = fmt.Sprintf("to the client %d\n", i)
		_, err = io.WriteString(in, text)
		require.NoError(t, err)
		line, err := conn.Reader().Until('\n')
		require.NoError(t, err)
		require.Equal(t, text, string(line))
	}
}

// Without it the connection ends, as with crypto/tls.
func TestTLSClientRefusesRenegotiation(t *testing.T) {
	config, client := tlsConfigs(t)
	client.MaxVersion = tls.VersionTLS12
	in, out, addr := opensslServer(t, config, "-tls1_2")
	conn, err := (&netpoll.TLSDialer{Config: client}).DialConnection("tcp", addr, testkit.Timeout)
	require.NoError(t, err)
	defer conn.Close()
	testkit.Send(t, conn, "hello\n")
	expectLine(t, out, "hello")
	_, err = io.WriteString(in, "r\n")
	require.NoError(t, err)
	_, err = conn.Reader().Next(1)
	var alert *net.OpError
	require.ErrorAs(t, err, &alert)
	require.ErrorContains(t, err, "no renegotiation")
}
