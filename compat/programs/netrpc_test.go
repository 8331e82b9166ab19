package programs

// net/rpc: gob on a connection, gob after an HTTP request that is hijacked, and JSON on a connection.

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	netrpc "net/rpc"
	"net/rpc/jsonrpc"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Arithmetic is a service.
type Arithmetic struct{}

// Numbers are what its methods work with. Padding makes a message long.
type Numbers struct {
	A, B    int
	Padding []byte
}

// Multiply is a method that the clients call.
func (Arithmetic) Multiply(in Numbers, out *Numbers) error {
	*out = Numbers{A: in.A * in.B, Padding: in.Padding}
	return nil
}

// Fail is a method that returns an error.
func (Arithmetic) Fail(Numbers, *Numbers) error { return errors.New("no such thing") }

// ways are the ways to reach a server. serve serves ln until it is closed; client makes a client from a connection.
var ways = map[string]struct {
	serve  func(s *netrpc.Server, ln net.Listener)
	client func(conn net.Conn) (*netrpc.Client, error)
}{
	"gob": {
		func(s *netrpc.Server, ln net.Listener) { s.Accept(ln) },
		func(conn net.Conn) (*netrpc.Client, error) { return netrpc.NewClient(conn), nil },
	},
	"gob over HTTP": {
		func(s *netrpc.Server, ln net.Listener) { _ = http.Serve(ln, s) },
		clientOverHTTP,
	},
	"JSON": {
		func(s *netrpc.Server, ln net.Listener) {
			for {
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				go s.ServeCodec(jsonrpc.NewServerCodec(conn))
			}
		},
		func(conn net.Conn) (*netrpc.Client, error) { return jsonrpc.NewClient(conn), nil },
	},
}

// clientOverHTTP does what rpc.DialHTTP does. DialHTTP cannot be used, because it dials with package net.
func clientOverHTTP(conn net.Conn) (*netrpc.Client, error) {
	if _, err := io.WriteString(conn, "CONNECT "+netrpc.DefaultRPCPath+" HTTP/1.0\n\n"); err != nil {
		return nil, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: http.MethodConnect})
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the server says %s", resp.Status)
	}
	return netrpc.NewClient(conn), nil
}

// Behaviour 9.5: over HTTP, both sides write their first line with io.WriteString.
func TestRPCOfTheStandardLibrary(t *testing.T) {
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			againstNet(t, func(t *testing.T, on sides) {
				s := netrpc.NewServer()
				require.NoError(t, s.Register(Arithmetic{}))
				ln := on.listen(t)
				go way.serve(s, ln)
				conn, err := on.dialBounded(timeLimit(t), ln.Addr().String())
				require.NoError(t, err)
				defer conn.Close()
				require.NoError(t, conn.SetDeadline(time.Now().Add(soon)))
				c, err := way.client(conn)
				require.NoError(t, err)
				require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
				defer c.Close()
				callMany(t, c)
			})
		})
	}
}

// callMany calls from several goroutines.
func callMany(t *testing.T, c *netrpc.Client) {
	var wg sync.WaitGroup
	for caller := range 8 {
		wg.Go(func() {
			for i := range 20 {
				var out Numbers
				in := Numbers{A: caller, B: i, Padding: pattern(i, i*i*20)}
				if err := c.Call("Arithmetic.Multiply", in, &out); err != nil {
					t.Errorf("call %d of %d: %v", i, caller, err)
					return
				}
				if out.A != caller*i || digest(out.Padding) != digest(in.Padding) {
					t.Errorf("call %d of %d: wrong answer", i, caller)
				}
			}
		})
	}
	wg.Wait()
	require.EqualError(t, c.Call("Arithmetic.Fail", Numbers{}, new(Numbers)), "no such thing")
}
