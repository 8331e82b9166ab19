package test

// The conformance suite for net.Conn, over every kind of connection at either end.

import (
	"context"
	"errors"
	"net"
	"testing"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"golang.org/x/net/nettest"
)

// Behaviour 1.2 and 2.4: every connection is a whole net.Conn, as its conformance suite defines it.
func TestConnectionsConformToNetConn(t *testing.T) {
	t.Parallel()
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		t.Run("dialed to plain", func(t *testing.T) {
			nettest.TestConn(t, pipeMaker(testkit.Listen(t, network), dialNetpoll))
		})
		t.Run("dialed to accepted", func(t *testing.T) {
			nettest.TestConn(t, pipeMaker(testnet.Listen(t, network), dialNetpoll))
		})
		t.Run("accepted from plain", func(t *testing.T) {
			nettest.TestConn(t, swapped(pipeMaker(testnet.Listen(t, network), net.Dial)))
		})
		t.Run("served from plain", func(t *testing.T) {
			nettest.TestConn(t, swapped(servedPipeMaker(t, network, net.Dial)))
		})
		t.Run("served from dialed", func(t *testing.T) {
			nettest.TestConn(t, swapped(servedPipeMaker(t, network, dialNetpoll)))
		})
	})
}

// dialFunc has the form of net.Dial.
type dialFunc func(network, address string) (net.Conn, error)

// dialNetpoll is a dialFunc.
func dialNetpoll(network, address string) (net.Conn, error) {
	return netpoll.NewDialer().DialTimeout(network, address, testkit.Timeout)
}

// pipeMaker connects by dialing and accepting.
func pipeMaker(ln net.Listener, dial dialFunc) nettest.MakePipe {
	return func() (c1, c2 net.Conn, stop func(), err error) {
		if c1, err = dial(ln.Addr().Network(), ln.Addr().String()); err != nil {
			return nil, nil, nil, err
		}
		if c2, err = ln.Accept(); err != nil {
			return nil, nil, nil, errors.Join(err, c1.Close())
		}
		return c1, c2, func() { c1.Close(); c2.Close() }, nil
	}
}

// servedPipeMaker connects by dialing to an EventLoop whose connections have no handler for requests.
func servedPipeMaker(t *testing.T, network string, dial dialFunc) nettest.MakePipe {
	accepted := make(chan net.Conn, 1)
	addr := testnet.NewServer(t, network, nil, netpoll.WithOnConnect(
		func(ctx context.Context, conn netpoll.Connection) context.Context {
			accepted <- conn
			return ctx
		})).Addr()
	return func() (c1, c2 net.Conn, stop func(), err error) {
		if c1, err = dial(addr.Network(), addr.String()); err != nil {
			return nil, nil, nil, err
		}
		c2 = testkit.Receive(t, accepted)
		return c1, c2, func() { c1.Close(); c2.Close() }, nil
	}
}

// swapped exchanges the ends, because the suite asks more of the first one.
func swapped(mp nettest.MakePipe) nettest.MakePipe {
	return func() (c1, c2 net.Conn, stop func(), err error) {
		c2, c1, stop, err = mp()
		return c1, c2, stop, err
	}
}
