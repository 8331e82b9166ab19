package programs

// golang.org/x/crypto/ssh: commands and forwarded ports, many channels on one connection.

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
)

// serveSSH serves one connection: "exec" with the commands cat, sum (answers with the digest of its input) and false,
// and "direct-tcpip", a forwarded port.
func serveSSH(t *testing.T, on sides, config *ssh.ServerConfig, conn net.Conn) error {
	s, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return err
	}
	defer s.Close()
	var running sync.WaitGroup
	defer running.Wait()
	go ssh.DiscardRequests(requests)
	for c := range channels {
		switch c.ChannelType() {
		case "session":
			running.Go(func() { serveSession(c) })
		case "direct-tcpip":
			running.Go(func() { forwardPort(t, on, c) })
		default:
			_ = c.Reject(ssh.UnknownChannelType, "no such thing")
		}
	}
	return nil
}

func serveSession(c ssh.NewChannel) {
	ch, requests, err := c.Accept()
	if err != nil {
		return
	}
	defer ch.Close()
	for req := range requests {
		var command struct{ Line string }
		if req.Type != "exec" || ssh.Unmarshal(req.Payload, &command) != nil {
			_ = req.Reply(false, nil)
			continue
		}
		_ = req.Reply(true, nil)
		status := struct{ Code uint32 }{}
		switch command.Line {
		case "cat":
			_, _ = io.Copy(ch, ch)
		case "sum":
			sum, _ := digestOf(ch)
			_, _ = io.WriteString(ch, sum)
		default:
			_, _ = io.WriteString(ch.Stderr(), "no such command")
			status.Code = 127
		}
		_, _ = ch.SendRequest("exit-status", false, ssh.Marshal(status))
		return
	}
}

func forwardPort(t *testing.T, on sides, c ssh.NewChannel) {
	var to struct {
		Host       string
		Port       uint32
		OriginHost string
		OriginPort uint32
	}
	if err := ssh.Unmarshal(c.ExtraData(), &to); err != nil {
		_ = c.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	target, err := on.dialBounded(timeLimit(t), net.JoinHostPort(to.Host, strconv.Itoa(int(to.Port))))
	if err != nil {
		_ = c.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	defer target.Close()
	ch, requests, err := c.Accept()
	if err != nil {
		return
	}
	defer ch.Close()
	go ssh.DiscardRequests(requests)
	var sending sync.WaitGroup
	defer sending.Wait()
	sending.Go(func() {
		_, _ = io.Copy(target, ch)
		_ = target.(interface{ CloseWrite() error }).CloseWrite()
	})
	_, _ = io.Copy(ch, target)
	_ = ch.CloseWrite()
}

// dialSSH returns a client of a new server.
func dialSSH(t *testing.T, on sides) *ssh.Client {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	signer, err := ssh.NewSignerFromKey(key)
	require.NoError(t, err)
	config := &ssh.ServerConfig{PasswordCallback: func(c ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
		if c.User() != "user" || string(password) != "secret" {
			return nil, errors.New("wrong password")
		}
		return nil, nil
	}}
	config.AddHostKey(signer)
	address := on.serveEach(t, func(conn net.Conn) { _ = serveSSH(t, on, config, conn) })

	conn, err := on.dialBounded(timeLimit(t), address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	c, channels, requests, err := ssh.NewClientConn(conn, address, &ssh.ClientConfig{
		User: "user", Auth: []ssh.AuthMethod{ssh.Password("secret")},
		HostKeyCallback: ssh.FixedHostKey(signer.PublicKey()),
	})
	require.NoError(t, err)
	client := ssh.NewClient(c, channels, requests)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func TestSSHRunsCommands(t *testing.T) {
	againstNet(t, func(t *testing.T, on sides) {
		client := dialSSH(t, on)
		run := func(command string, input []byte) (string, error) {
			s, err := client.NewSession()
			if err != nil {
				return "", err
			}
			defer s.Close()
			s.Stdin = bytes.NewReader(input)
			out, err := s.Output(command)
			return string(out), err
		}
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				input := pattern(i, 1+i*50_000)
				got, err := run("cat", input)
				if err == nil && got != string(input) {
					err = errors.New("cat changed its input")
				}
				if err != nil {
					t.Errorf("session %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		input := pattern(0, 3<<20)
		got, err := run("sum", input)
		require.NoError(t, err)
		require.Equal(t, digest(input), got)
		_, err = run("nonsense", nil)
		var exit *ssh.ExitError
		require.ErrorAs(t, err, &exit)
		require.Equal(t, 127, exit.ExitStatus())
	})
}

func TestSSHForwardsPorts(t *testing.T) {
	const size = 4 << 20
	againstNet(t, func(t *testing.T, on sides) {
		client := dialSSH(t, on)
		target := on.serveEach(t, func(conn net.Conn) {
			sum, err := digestOf(conn)
			fmt.Fprint(conn, sum, orNothing(err))
		})
		var wg sync.WaitGroup
		for i := range 3 {
			wg.Go(func() {
				sent := pattern(i, size)
				conn, err := client.Dial("tcp", target)
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				_, err = io.Copy(conn, bytes.NewReader(sent))
				err = errors.Join(err, conn.(interface{ CloseWrite() error }).CloseWrite())
				got, readErr := io.ReadAll(conn)
				if err = errors.Join(err, readErr); err != nil || string(got) != digest(sent) {
					t.Errorf("port %d: %q for %q, %v", i, got, digest(sent), err)
				}
			})
		}
		wg.Wait()
	})
}
