//go:build linux && !netconn

package netpoll

// The settings change what the library costs and not what it does: the same requests, in the same pieces, get the same
// reply, to the byte, whatever is switched on.

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// sameScript is the output of one client: requests with a length in front, and where to cut the stream into pieces.
type sameScript struct {
	requests [][]byte
	ways     []byte // how each is read and answered
	pieces   []int
}

func drawScript(r *rand.Rand) (s sameScript) {
	for range 20 + r.IntN(60) {
		p := make([]byte, 1+r.IntN(1<<(1+r.IntN(14))))
		for i := range p {
			p[i] = byte(r.Uint32())
		}
		s.requests = append(s.requests, p)
		s.ways = append(s.ways, byte(r.Uint32()))
		s.pieces = append(s.pieces, 1+r.IntN(1<<(1+r.IntN(15))))
	}
	return s
}

// input is all that the client sends.
func (s *sameScript) input() (p []byte) {
	for _, r := range s.requests {
		p = append(binary.BigEndian.AppendUint16(p, uint16(len(r))), r...)
	}
	return p
}

// reply is the answer that it must get.
func (s *sameScript) reply() (p []byte) {
	for i, r := range s.requests {
		p = append(binary.BigEndian.AppendUint16(p, uint16(i)), r...)
	}
	return p
}

// sameHandler answers the requests of one client.
type sameHandler struct {
	script *sameScript
	next   int
}

func (h *sameHandler) handle(conn Connection) error {
	r := conn.Reader()
	for r.Len() > 0 && h.next < len(h.script.requests) {
		way := h.script.ways[h.next]
		if way&1 == 0 && r.Len() < 2 {
			return nil // it is called again
		}
		head, err := r.Peek(2)
		if err != nil {
			return err
		}
		n := int(binary.BigEndian.Uint16(head))
		if way&1 == 0 && r.Len() < 2+n {
			return nil
		}
		if err := h.answer(conn, n, way); err != nil {
			return err
		}
		h.next++
	}
	return nil
}

// answer reads a request of n bytes and replies, in the way that is the script's.
func (h *sameHandler) answer(conn Connection, n int, way byte) (err error) {
	r, w := conn.Reader(), conn.Writer()
	if err = r.Skip(2); err != nil {
		return err
	}
	var p []byte
	switch way >> 1 & 3 {
	case 0:
		p, err = r.Next(n)
	case 1:
		p, err = r.ReadBinary(n)
	case 2:
		var part Reader
		if part, err = r.Slice(n); err == nil {
			p, err = part.ReadBinary(n)
			_ = part.Release()
		}
	case 3:
		p = make([]byte, n)
		_, err = io.ReadFull(conn, p)
	}
	if err != nil {
		return err
	}
	if err = h.write(w, p, way); err != nil {
		return err
	}
	if way>>6 != 0 || h.next == len(h.script.requests)-1 || n > 1000 { // now and then a reply waits for the next one
		err = w.Flush()
		_ = r.Release()
	}
	return err
}

func (h *sameHandler) write(w Writer, p []byte, way byte) (err error) {
	head := binary.BigEndian.AppendUint16(nil, uint16(h.next))
	switch way >> 3 & 7 {
	case 0, 1:
		var q []byte
		if q, err = w.Malloc(2 + len(p)); err == nil {
			copy(q[copy(q, head):], p)
		}
	case 2, 3:
		_, _ = w.WriteBinary(head)
		_, err = w.WriteBinary(bytes.Clone(p))
	case 4:
		_, _ = w.WriteBinary(head)
		_, err = w.WriteString(string(p))
	case 5:
		k := len(p) / 2
		q, _ := w.Malloc(2 + len(p) - k)
		copy(q, head)
		copy(q[2:], p[k:])
		err = w.WriteDirect(bytes.Clone(p[:k]), len(p)-k)
	case 6:
		src := NewLinkBuffer()
		_, _ = src.WriteBinary(head)
		_ = src.Flush()
		_, _ = src.WriteBinary(bytes.Clone(p))
		err = w.Append(src)
	case 7:
		q, _ := w.Malloc(2 + len(p) + 100)
		copy(q[copy(q, head):], p)
		err = w.MallocAck(w.MallocLen() - 100)
	}
	return err
}

// converse sends the script and returns the answer, until the end.
func (s *sameScript) converse(conn net.Conn) (reply []byte, err error) {
	var sending sync.WaitGroup
	sending.Go(func() {
		rest := s.input()
		for i := 0; len(rest) > 0; i++ {
			n, err := conn.Write(rest[:min(len(rest), s.pieces[i%len(s.pieces)])])
			if err != nil {
				break
			}
			rest = rest[n:]
		}
		_ = conn.(interface{ CloseWrite() error }).CloseWrite()
	})
	reply, err = io.ReadAll(conn)
	sending.Wait()
	return reply, err
}

func TestSimulatedRepliesAreTheSameInEveryConfiguration(t *testing.T) {
	const clients = 12
	seed := rand.Uint64()
	scripts := make([]sameScript, clients)
	for i := range scripts {
		scripts[i] = drawScript(rand.New(rand.NewPCG(seed, uint64(i))))
	}
	for _, by := range []struct {
		ring IOUringMode
		aio  AIOMode
	}{{IOUringOff, AIOOff}, {IOUringAlways, AIOAuto}, {IOUringOff, AIOAlways}} {
		for _, procs := range []int{1, 2, 8} {
			for mode := range 4 {
				s := simSettings{ring: by.ring, aio: by.aio, procs: procs, direct: mode&1 != 0, runner: mode&2 != 0, pollers: 1 + mode/2,
					buffer: []int{builtinBufferSize, 64}[mode&1]}
				t.Run(fmt.Sprintf("%+v", s), func(t *testing.T) {
					defer s.apply(t)()
					for _, network := range []string{"tcp", "unix"} {
						converseAll(t, network, scripts, seed)
					}
				})
			}
		}
	}
}

func converseAll(t *testing.T, network string, scripts []sameScript, seed uint64) {
	var waiting sync.Mutex
	handlers := make(chan *sameHandler, 1)
	w := &simWorld{dir: t.TempDir()}
	loop, err := NewEventLoop(func(ctx context.Context, conn Connection) error {
		return ctx.Value(simKey{}).(*sameHandler).handle(conn)
	}, WithOnPrepare(func(Connection) context.Context {
		return context.WithValue(context.Background(), simKey{}, <-handlers)
	}))
	require.NoError(t, err)
	ln, err := CreateListener(network, w.address(network, 0))
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- loop.Serve(ln) }()
	var all sync.WaitGroup
	for i := range scripts {
		all.Go(func() {
			waiting.Lock()
			handlers <- &sameHandler{script: &scripts[i]}
			conn, err := net.Dial(network, ln.Addr().String())
			waiting.Unlock()
			if err != nil {
				t.Errorf("dial: %v", err)
				return
			}
			defer conn.Close()
			reply, err := scripts[i].converse(conn)
			if want := scripts[i].reply(); err != nil || !bytes.Equal(want, reply) {
				t.Errorf("seed %d, client %d: %d bytes of reply, %d are right, %v", seed, i, len(reply), len(want), err)
			}
		})
	}
	all.Wait()
	require.NoError(t, loop.Shutdown(context.Background()))
	require.NoError(t, <-served)
}
