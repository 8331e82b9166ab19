//go:build faults && linux && !netconn && !kqsim

package torture

// Scenarios over shared memory: the system calls that fail are those of its socket and of the poller.

import (
	"fmt"
	"path/filepath"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testnet"
)

// connectShm returns a connection over shared memory to a server of its own.
func (e *env) connectShm(on netpoll.OnRequest, opts ...netpoll.Option) (netpoll.Connection, error) {
	ln, err := netpoll.CreateListener("shm", filepath.Join(e.dir, fmt.Sprint(socketsMade.Add(1))))
	if err != nil {
		return nil, err
	}
	if _, err := e.serveOn(ln, on, opts...); err != nil {
		return nil, err
	}
	conn, err := netpoll.DialConnection("shm", ln.Addr().String(), endTime/2)
	if err != nil {
		return nil, err
	}
	e.know(conn)
	e.later(func() { _ = conn.Close() })
	return conn, nil
}

func runShmEcho(e *env) error { return echoOver(e, (*env).connectShm) }

func runShmLarge(e *env) error { return largeOver(e, (*env).connectShm) }

func runShmHalfClose(e *env) error { return halfCloseOver(e, (*env).connectShm) }

// runShmMany agrees on memory with several clients at once.
func runShmMany(e *env) error {
	return allOf(4, func(int) error {
		conn, err := e.connectShm(orClose(testnet.Echo))
		if err != nil {
			return err
		}
		return e.exchange(conn, "hello")
	})
}
