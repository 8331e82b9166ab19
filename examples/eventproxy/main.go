// Command eventproxy forwards TCP connections to another server. A connection that waits needs no goroutine: both sides
// have an OnRequest that moves the input to the other side. proxy.go has the proxy. The program makes 50 transfers
// through it at once. Each half-closes when it has sent everything, and the program checks every answer.
package main

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"sync/atomic"

	"github.com/cloudwego/netpoll"
)

const (
	transfers    = 50
	transferSize = 3 << 20
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// run makes the transfers and prints how many got the right answer.
func run(ctx context.Context, w io.Writer) error {
	upstream, err := netpoll.CreateListener("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go serveChecksums(upstream)
	defer upstream.Close()

	loop, err := newProxy(upstream.Addr().String())
	if err != nil {
		return err
	}
	ln, err := netpoll.CreateListener("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- loop.Serve(ln) }()

	right := transferAll(ctx, ln.Addr().String())
	fmt.Fprintf(w, "%d of %d transfers right\n", right, transfers)
	return errors.Join(loop.Shutdown(ctx), <-served)
}

// serveChecksums answers each client, after the end of its stream, with the checksum of all that it has sent.
func serveChecksums(ln net.Listener) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return // the listener is closed
		}
		go func() {
			defer conn.Close()
			sum := crc32.NewIEEE()
			if _, err := io.Copy(sum, conn); err == nil {
				fmt.Fprintf(conn, "%08x", sum.Sum32())
			}
		}()
	}
}

// transferAll makes all transfers at once and returns how many were right.
func transferAll(ctx context.Context, addr string) int {
	var right atomic.Int32
	var all sync.WaitGroup
	for i := range transfers {
		all.Go(func() {
			if err := transfer(ctx, addr, uint64(i)); err != nil {
				log.Printf("transfer %d: %v", i, err)
				return
			}
			right.Add(1)
		})
	}
	all.Wait()
	return int(right.Load())
}

// transfer sends random bytes, half-closes, and checks the answer.
func transfer(ctx context.Context, addr string, seed uint64) error {
	data := make([]byte, transferSize)
	source := rand.NewChaCha8([32]byte{byte(seed)})
	_, _ = source.Read(data) // never fails
	conn, err := netpoll.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.Write(data); err != nil {
		return err
	}
	if err := conn.(netpoll.HalfCloser).CloseWrite(); err != nil {
		return err
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		return err
	}
	if want := fmt.Sprintf("%08x", crc32.ChecksumIEEE(data)); string(answer) != want {
		return fmt.Errorf("the answer is %q, not %q", answer, want)
	}
	return nil
}
