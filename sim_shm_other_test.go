//go:build linux && !netconn && kqsim

package netpoll

// There is no shared memory over the model of kqueue.

import (
	"math/rand/v2"
	"net"
	"syscall"
	"time"

	"github.com/stretchr/testify/require"
)

const simHasShm = false

func (p *simPlan) drawShm(*rand.Rand) {}

func (w *simWorld) listenShm(address string) net.Listener {
	ln, err := CreateListener("unix", address)
	require.NoError(w.t, err)
	return ln
}

func (w *simWorld) dialShm(*simLife, net.Listener) (Connection, net.Conn, error) { panic("not drawn") }

func (p *simPlan) agreeShm(net.Conn) (net.Conn, error) { panic("not drawn") }

type simRing struct{}

func newSimRing(net.Conn, syscall.RawConn) *simRing            { return nil }
func (s *simRing) send([]byte) (int, error)                    { return 0, nil }
func (s *simRing) receive([]byte) (n int, eof bool, err error) { return 0, true, nil }
func (s *simRing) await(time.Time) error                       { return nil }
func (s *simRing) closeWrite() error                           { return nil }
func (s *simRing) end()                                        {}
