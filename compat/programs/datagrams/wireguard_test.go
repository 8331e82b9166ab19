package datagrams

// wireguard-go: two of its devices with a tunnel between them, over binds of the library's sockets and over its own.

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun/tuntest"
)

// guard is one end of a tunnel.
type guard struct {
	*device.Device
	tun  *tuntest.ChannelTUN
	addr netip.Addr
}

// overBinds runs test with the library's sockets at either end of the tunnel, at both, and at none.
func overBinds(t *testing.T, test func(t *testing.T, a, b *guard)) {
	overSides(t, func(t *testing.T, on sides) {
		var binds [2]conn.Bind
		for i, ours := range []bool{on.server, on.client} {
			if binds[i] = conn.NewStdNetBind(); ours {
				binds[i] = new(bind)
			}
		}
		a, b := tunnel(t, binds)
		test(t, a, b)
	})
}

// tunnel makes two devices that know each other.
func tunnel(t *testing.T, binds [2]conn.Bind) (a, b *guard) {
	t.Helper()
	var ends [2]*guard
	var keys [2]*ecdh.PrivateKey
	for i := range ends {
		key, err := ecdh.X25519().GenerateKey(rand.Reader)
		require.NoError(t, err)
		tun := tuntest.NewChannelTUN()
		log := &device.Logger{Verbosef: device.DiscardLogf, Errorf: device.DiscardLogf}
		ends[i] = &guard{device.NewDevice(tun.TUN(), binds[i], log), tun, netip.AddrFrom4([4]byte{1, 0, 0, byte(i + 1)})}
		keys[i] = key
		t.Cleanup(ends[i].Close)
		require.NoError(t, ends[i].IpcSet("private_key="+hex.EncodeToString(key.Bytes())+"\nlisten_port=0\n"))
		require.NoError(t, ends[i].Up())
	}
	for i, end := range ends {
		other := ends[1-i]
		require.NoError(t, end.IpcSet(fmt.Sprintf("public_key=%s\nendpoint=127.0.0.1:%s\nallowed_ip=%s/32\n",
			hex.EncodeToString(keys[1-i].PublicKey().Bytes()), other.port(t), other.addr)))
	}
	return ends[0], ends[1]
}

// port returns the port that the device listens on.
func (g *guard) port(t *testing.T) string {
	t.Helper()
	state, err := g.IpcGet()
	require.NoError(t, err)
	_, rest, ok := strings.Cut(state, "listen_port=")
	require.True(t, ok, state)
	port, _, _ := strings.Cut(rest, "\n")
	return port
}

// pass sends packets through the tunnel and fails unless they come out as they went in, in order.
func pass(t *testing.T, from, to *guard, n, size int) {
	t.Helper()
	packets := make([][]byte, n)
	for i := range packets {
		packets[i] = append(tuntest.Ping(to.addr, from.addr), bytes.Repeat([]byte{byte(i)}, size)...)
		packets[i][2], packets[i][3] = byte(len(packets[i])>>8), byte(len(packets[i])) // its length
	}
	var sending sync.WaitGroup
	sending.Go(func() {
		for i, p := range packets {
			select {
			case from.tun.Outbound <- p:
			case <-time.After(patience):
				t.Errorf("packet %d was not taken", i)
				return
			}
		}
	})
	defer sending.Wait()
	for i, want := range packets {
		got := await(t, to.tun.Inbound, fmt.Sprintf("packet %d", i))
		require.True(t, bytes.Equal(want, got), "packet %d: %d bytes", i, len(got))
	}
}

func TestWireGuardPassesPackets(t *testing.T) {
	overBinds(t, func(t *testing.T, a, b *guard) {
		pass(t, a, b, 1, 0)
		pass(t, b, a, 1, 0)
		pass(t, a, b, 200, 1300)
		pass(t, b, a, 200, 64)
		var ways sync.WaitGroup
		ways.Go(func() { pass(t, a, b, 300, 500) })
		pass(t, b, a, 300, 500)
		ways.Wait()
	})
}

// A device that goes down closes its sockets, and makes others when it comes up again.
func TestWireGuardComesUpAgain(t *testing.T) {
	overBinds(t, func(t *testing.T, a, b *guard) {
		pass(t, a, b, 10, 100)
		require.NoError(t, b.Down())
		require.NoError(t, b.Up())
		pass(t, b, a, 10, 100) // which tells a the port, if it is another
		pass(t, a, b, 10, 100)
	})
}

// What package conn says of a Bind.
func TestBindKeepsItsContract(t *testing.T) {
	for name, newBind := range map[string]func() conn.Bind{
		"netpoll": func() conn.Bind { return new(bind) }, "net": conn.NewStdNetBind,
	} {
		t.Run(name, func(t *testing.T) {
			b := newBind()
			fns, port, err := b.Open(0)
			require.NoError(t, err)
			require.NotZero(t, port)
			_, _, err = b.Open(0)
			require.ErrorIs(t, err, conn.ErrBindAlreadyOpen)
			ended := make(chan error, len(fns))
			for _, receive := range fns {
				go func() {
					_, err := receive([][]byte{{0}}, []int{0}, []conn.Endpoint{nil})
					ended <- err
				}()
			}
			require.NoError(t, b.Close())
			for range fns {
				require.ErrorIs(t, await(t, ended, "the end of a receiver"), net.ErrClosed)
			}
			_, again, err := b.Open(port)
			require.NoError(t, err)
			require.Equal(t, port, again)
			require.NoError(t, b.Close())
		})
	}
}
