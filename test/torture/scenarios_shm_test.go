//go:build faults && linux && !netconn && !kqsim

package torture

// Scenarios over shared memory: the system calls that fail are those of its socket and of the poller.

import (
	"fmt"
	"io"
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

// runShmHalfClose ends one direction of the rings, and then the other.
func runShmHalfClose(e *env) error {
	conn, err := e.connectShm(orClose(answerTheEnd))
	if err != nil {
		return err
	}
	if _, err := conn.Write([]byte("question")); err != nil {
		return err
	}
	if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		return err
	}
	answer, err := io.ReadAll(conn)
	e.prefixOf([]byte("question answered"), answer)
	if err == nil && len(answer) == 0 {
		return io.ErrUnexpectedEOF // the server has failed
	}
	return err
}

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
