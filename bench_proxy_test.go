//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll_test

// The proxy benchmark: what it costs a process to pass bytes on, with this library and with package net. The proxy is a
// process of its own, with one processor, so that nothing but the proxy is measured:
//
//	go test -run '^$' -bench Proxy -benchtime 1x -count 10 . | benchstat -col /lib -
//
// CPU-s/GiB is the processor time of that process, in the kernel and outside, by what has passed.

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/stretchr/testify/require"
)

// proxyLib is the variable that makes a process of this test binary a proxy, by the library it names.
const proxyLib = "NETPOLL_BENCH_PROXY"

// TestBeAProxy is the proxy, in the process that startProxy has made. In any other it has nothing to do. It writes its
// address, and for each line that it reads the processor time it has used, in nanoseconds.
func TestBeAProxy(t *testing.T) {
	lib, ok := os.LookupEnv(proxyLib)
	if !ok {
		return
	}
	in := bufio.NewScanner(os.Stdin)
	require.True(t, in.Scan())
	upstream := in.Text()
	listen := net.Listen
	dial := func() (net.Conn, error) { return net.Dial("tcp", upstream) }
	if lib == "netpoll" {
		listen = func(network, addr string) (net.Listener, error) { return netpoll.CreateListener(network, addr) }
		dial = func() (net.Conn, error) { return netpoll.DialConnection("tcp", upstream, testkit.Timeout) }
	}
	ln, err := listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go serveProxy(ln, dial)
	fmt.Printf("\n%v\n", ln.Addr())
	for in.Scan() {
		fmt.Println(testkit.ProcessorTime().Nanoseconds())
	}
	os.Exit(0)
}

func serveProxy(ln net.Listener, dial func() (net.Conn, error)) {
	for {
		front, err := ln.Accept()
		if err != nil {
			return
		}
		back, err := dial()
		if err != nil {
			panic(err)
		}
		pass := func(dst, src net.Conn) {
			_, _ = io.Copy(dst, src)
			_ = dst.(interface{ CloseWrite() error }).CloseWrite()
		}
		go pass(back, front)
		go pass(front, back)
	}
}

// proxyProcess is a running proxy.
type proxyProcess struct {
	addr string
	in   io.Writer
	out  *bufio.Scanner
}

func startProxy(b *testing.B, lib, upstream string) *proxyProcess {
	b.Helper()
	cmd := exec.Command(os.Args[0], "-test.run", "^TestBeAProxy$")
	cmd.Env = append(os.Environ(), proxyLib+"="+lib, "GOMAXPROCS=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(b, err)
	out, err := cmd.StdoutPipe()
	require.NoError(b, err)
	require.NoError(b, cmd.Start())
	b.Cleanup(func() {
		in.Close()
		_ = cmd.Wait()
	})
	p := &proxyProcess{in: in, out: bufio.NewScanner(out)}
	fmt.Fprintln(in, upstream)
	for p.addr == "" && p.out.Scan() {
		p.addr = p.out.Text()
	}
	return p
}

// used is the processor time that the proxy has used so far.
func (p *proxyProcess) used(b *testing.B) (d time.Duration) {
	fmt.Fprintln(p.in)
	require.True(b, p.out.Scan())
	_, err := fmt.Sscan(p.out.Text(), (*int64)(&d))
	require.NoError(b, err)
	return d
}

func BenchmarkProxy(b *testing.B) {
	for _, lib := range []string{"netpoll", "net"} {
		b.Run("lib="+lib+"/bulk", func(b *testing.B) { benchmarkProxyBulk(b, lib) })
		b.Run("lib="+lib+"/ping-pong", func(b *testing.B) { benchmarkProxyPingPong(b, lib) })
	}
}

// throughProxy returns both ends of a connection that goes through a proxy.
func throughProxy(b *testing.B, lib string) (p *proxyProcess, client, server net.Conn) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	b.Cleanup(func() { ln.Close() })
	p = startProxy(b, lib, ln.Addr().String())
	client, err = net.Dial("tcp", p.addr)
	require.NoError(b, err)
	b.Cleanup(func() { client.Close() })
	server, err = ln.Accept()
	require.NoError(b, err)
	b.Cleanup(func() { server.Close() })
	return p, client, server
}

// benchmarkProxyBulk passes a GiB from end to end, b.N times.
func benchmarkProxyBulk(b *testing.B, lib string) {
	const size, piece = 1 << 30, 256 << 10
	p, client, server := throughProxy(b, lib)
	b.SetBytes(size)
	block := make([]byte, piece)
	buf := make([]byte, piece)
	pass := func(total int) {
		sent := make(chan error, 1)
		go func() {
			for range total / piece {
				if _, err := client.Write(block); err != nil {
					sent <- err
					return
				}
			}
			sent <- nil
		}()
		for left := total; left > 0; {
			n, err := server.Read(buf)
			require.NoError(b, err)
			left -= n
		}
		require.NoError(b, <-sent)
	}
	pass(16 * piece)
	before := p.used(b)
	b.ResetTimer()
	for range b.N {
		pass(size)
	}
	b.StopTimer()
	b.ReportMetric((p.used(b)-before).Seconds()/float64(b.N), "CPU-s/GiB")
}

// benchmarkProxyPingPong makes b.N thousand round trips of 1 KiB.
func benchmarkProxyPingPong(b *testing.B, lib string) {
	p, client, server := throughProxy(b, lib)
	go func() {
		_, _ = io.CopyBuffer(struct{ io.Writer }{server}, struct{ io.Reader }{server}, make([]byte, 4096))
	}()
	c := &echoClient{conn: client, buf: make([]byte, 1024)}
	for range 100 {
		require.NoError(b, c.roundTrip())
	}
	const trips = 1000
	before := p.used(b)
	b.ResetTimer()
	for range b.N * trips {
		require.NoError(b, c.roundTrip())
	}
	b.StopTimer()
	b.ReportMetric(float64((p.used(b)-before).Microseconds())/float64(b.N*trips), "CPU-µs/trip")
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*trips), "µs/trip")
}
