package programs

// cloudflare/tableflip: a server starts its successor, which inherits the listening socket. This test binary is also the
// server.

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cloudflare/tableflip"
	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll"
)

// tableflipEnv is an environment variable. If it is set, the process is the server; its value is the side.
const tableflipEnv = "PROGRAMS_TABLEFLIP"

// serveTableflip is the server: HTTP on a free port. It answers with its process id. It prints "PID ADDRESS" when it is
// ready, hands over to a successor at SIGHUP, and exits at the end of its input.
func serveTableflip(side string) error {
	upgrader, err := tableflip.New(tableflip.Options{UpgradeTimeout: patience})
	if err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		upgrader.Stop()
	}()
	hups := make(chan os.Signal, 1)
	signal.Notify(hups, syscall.SIGHUP)
	go func() {
		for range hups {
			err := upgrader.Upgrade()
			for err != nil && strings.Contains(err.Error(), "not ready") { // tableflip has not noticed the call of Ready yet
				err = upgrader.Upgrade()
			}
			if err != nil {
				fmt.Println("upgrading:", err)
			}
		}
	}()
	ln, err := upgrader.ListenWithCallback("tcp", "127.0.0.1:0", func(network, address string) (net.Listener, error) {
		if side == "net" {
			return net.Listen(network, address)
		}
		return netpoll.CreateListener(network, address)
	})
	if err == nil && side != "net" {
		ln, err = netpoll.ConvertListener(ln) // tableflip's listener is one of package net
	}
	if err != nil {
		return err
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, os.Getpid())
	})}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	if err := upgrader.Ready(); err != nil {
		return err
	}
	fmt.Println(os.Getpid(), ln.Addr())
	<-upgrader.Exit()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err = s.Shutdown(ctx)
	if e := <-served; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, e)
	}
	return err
}

// Behaviour 9.8: the listener gives access to its descriptor, and the next process keeps the socket open.
func TestTableflipHandsTheListenerToTheNextProcess(t *testing.T) {
	againstNet(t, func(t *testing.T, on sides) {
		lines := startTableflip(t, on)
		var first, second int
		var address string
		line := await(t, lines, "the server")
		_, err := fmt.Sscan(line, &first, &address)
		require.NoError(t, err, line)
		got, err := pidOf(address)
		require.NoError(t, err)
		require.Equal(t, fmt.Sprint(first), got)

		stop, asked := make(chan struct{}), make(chan error, 1)
		go func() { asked <- askUntil(stop, address) }()
		require.NoError(t, syscall.Kill(first, syscall.SIGHUP))
		line = await(t, lines, "the next server")
		_, err = fmt.Sscan(line, &second, &address)
		require.NoError(t, err, line)
		require.NotEqual(t, first, second)
		require.Eventually(t, func() bool {
			got, err := pidOf(address)
			return err == nil && got == fmt.Sprint(second)
		}, patience, time.Millisecond)
		close(stop)
		require.NoError(t, await(t, asked, "the end of asking"))
	})
}

// startTableflip starts the server. The result delivers the lines that the server and its successors print, and is
// closed when all of them have exited.
func startTableflip(t *testing.T, on sides) <-chan string {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), tableflipEnv+"="+on.name)
	out, outEnd, err := os.Pipe() // not StdoutPipe, which ends with the first process
	require.NoError(t, err)
	cmd.Stdout, cmd.Stderr = outEnd, outEnd
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	require.NoError(t, outEnd.Close())
	lines := make(chan string, 64)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		require.NoError(t, in.Close()) // makes all of them exit
		var rest []string
		for line := ""; ; rest = append(rest, line) {
			if line = await(t, lines, "the end of the servers"); line == "" {
				break
			}
		}
		_ = out.Close()
		require.NoError(t, cmd.Wait(), strings.Join(rest, "\n"))
	})
	return lines
}

// pidOf asks the server for its process id, on a new connection.
func pidOf(address string) (string, error) {
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + address)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

// askUntil asks again and again, and returns an error if no server listens. Other errors are allowed: net/http does not
// answer a connection that it accepts during Shutdown, with either library.
func askUntil(stop <-chan struct{}, address string) error {
	for {
		select {
		case <-stop:
			return nil
		default:
			if _, err := pidOf(address); errors.Is(err, syscall.ECONNREFUSED) {
				return err
			}
		}
	}
}
