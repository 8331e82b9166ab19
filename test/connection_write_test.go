package test

// Filling the output through Writer: memory that stays in place until Flush, copies and references, and misuse. Sending
// is in connection_flush_test.go.

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"testing"
	"time"
	"unsafe"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

// arrives reads as many bytes as want has and compares.
func arrives(t *testing.T, peer net.Conn, want string) {
	t.Helper()
	buf := make([]byte, len(want))
	require.NoError(t, peer.SetReadDeadline(time.Now().Add(testkit.Timeout)))
	n, err := io.ReadFull(peer, buf)
	require.NoError(t, err, "after %d bytes of %d", n, len(want))
	if want != string(buf) {
		require.Less(t, len(want), 200, "%d bytes arrived, and they differ", len(want)) // too long to print
		require.Equal(t, want, string(buf))
	}
}

// nothingArrives looks on for a short while.
func nothingArrives(t *testing.T, peer net.Conn) {
	t.Helper()
	require.NoError(t, peer.SetReadDeadline(time.Now().Add(testkit.Calm)))
	n, err := peer.Read(make([]byte, 1))
	require.Zero(t, n, "a byte arrived")
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
}

// Behaviour 4.1: nothing is sent before Flush or Write.
func TestNothingIsSentBeforeFlushOrWrite(t *testing.T) {
	t.Parallel()
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		conn, peer := testnet.Dialed(t, network)
		w := conn.Writer()
		fill := func() {
			p, err := w.Malloc(2)
			require.NoError(t, err)
			copy(p, "ab")
			_, err = w.WriteString("cd")
			require.NoError(t, err)
			_, err = w.WriteBinary(bytes.Repeat([]byte("e"), 5000))
			require.NoError(t, err)
			require.NoError(t, w.WriteByte('f'))
			require.NoError(t, w.WriteDirect([]byte("gh"), 0))
		}
		const sent = 2 + 2 + 5000 + 1 + 2
		want := "abcd" + string(bytes.Repeat([]byte("e"), 5000)) + "fgh"
		fill()
		require.Equal(t, sent, w.MallocLen())
		nothingArrives(t, peer)
		require.NoError(t, w.Flush())
		require.Zero(t, w.MallocLen())
		arrives(t, peer, want)
		fill()
		nothingArrives(t, peer)
		n, err := conn.Write([]byte("Write"))
		require.NoError(t, err)
		require.Equal(t, 5, n, "Write counts its own bytes only")
		arrives(t, peer, want+"Write")
	})
}

// Behaviour 4.1: what Malloc returned stays in place until Flush, so a length header can be filled in last.
func TestMallocStaysInPlaceUntilFlush(t *testing.T) {
	conn, peer := testnet.Dialed(t, "tcp")
	w := conn.Writer()
	header, err := w.Malloc(4)
	require.NoError(t, err)
	var want []byte
	for i := range 200 {
		body, err := w.Malloc(100 + i)
		require.NoError(t, err)
		p := bytes.Repeat([]byte{byte(i)}, 1000)
		_, err = w.WriteBinary(p)
		require.NoError(t, err)
		require.NoError(t, w.WriteDirect([]byte("direct"), 0))
		lb := netpoll.NewLinkBuffer()
		_, err = lb.WriteString("appended")
		require.NoError(t, err)
		require.NoError(t, w.Append(lb))
		copy(body, bytes.Repeat([]byte{'m'}, len(body))) // late, too
		want = slices.Concat(want, body, p, []byte("directappended"))
	}
	copy(header, "HEAD")
	require.NoError(t, w.Flush())
	arrives(t, peer, "HEAD"+string(want))
}

// Behaviour 4.1: MallocLen counts everything since the last Flush.
func TestMallocLenCountsEverythingSinceFlush(t *testing.T) {
	conn, peer := testnet.Dialed(t, "tcp")
	w := conn.Writer()
	for range 2 {
		require.Zero(t, w.MallocLen())
		require.NoError(t, mallocString(w, "0123456789"))
		require.Equal(t, 10, w.MallocLen())
		_, err := w.WriteBinary(make([]byte, 5000))
		require.NoError(t, err)
		require.Equal(t, 5010, w.MallocLen())
		require.NoError(t, w.WriteDirect(make([]byte, 7), 0))
		require.Equal(t, 5017, w.MallocLen())
		lb := netpoll.NewLinkBuffer()
		require.NoError(t, mallocString(lb, "12345"))
		require.NoError(t, w.Append(lb))
		require.Equal(t, 5022, w.MallocLen())
		require.NoError(t, w.MallocAck(12))
		require.Equal(t, 12, w.MallocLen())
		require.NoError(t, w.Flush())
		arrives(t, peer, "0123456789\x00\x00")
	}
}

// Behaviour 4.1: MallocAck(n) keeps the first n bytes, over WriteDirect inserts too.
func TestMallocAckKeepsTheFirstBytes(t *testing.T) {
	for name, c := range map[string]struct {
		fill func(w netpoll.Writer) error
		ack  int
		want string
	}{
		"one Malloc": {func(w netpoll.Writer) error { return mallocString(w, "abcdef") }, 4, "abcd"},
		"nothing":    {func(w netpoll.Writer) error { return mallocString(w, "abcdef") }, 0, ""},
		"everything": {func(w netpoll.Writer) error { return mallocString(w, "abcdef") }, 6, "abcdef"},
		"two Mallocs": {func(w netpoll.Writer) error {
			return errors.Join(mallocString(w, "abc"), mallocString(w, "def"))
		}, 4, "abcd"},
		"behind an insert": {func(w netpoll.Writer) error {
			return errors.Join(mallocString(w, "abc"), w.WriteDirect([]byte("XX"), 2))
		}, 4, "aXXb"},
		"within an insert": {func(w netpoll.Writer) error {
			return errors.Join(mallocString(w, "abc"), w.WriteDirect([]byte("XX"), 2))
		}, 2, "aX"},
		"at an insert": {func(w netpoll.Writer) error {
			return errors.Join(mallocString(w, "abc"), w.WriteDirect([]byte("XX"), 2))
		}, 1, "a"},
	} {
		t.Run(name, func(t *testing.T) {
			conn, peer := testnet.Dialed(t, "tcp")
			require.NoError(t, c.fill(conn.Writer()))
			require.NoError(t, conn.Writer().MallocAck(c.ack))
			require.Equal(t, len(c.want), conn.Writer().MallocLen())
			_, err := conn.Writer().WriteString("|")
			require.NoError(t, err)
			require.NoError(t, conn.Writer().Flush())
			arrives(t, peer, c.want+"|")
		})
	}
}

// mallocString is WriteString by way of Malloc.
func mallocString(w netpoll.Writer, s string) error {
	p, err := w.Malloc(len(s))
	copy(p, s)
	return err
}

// Behaviour 4.2: WriteBinary and WriteString copy up to BinaryInplaceThreshold bytes and reference longer ones.
func TestWriteCopiesShortAndReferencesLong(t *testing.T) {
	for name, write := range map[string]func(w netpoll.Writer, p []byte) (int, error){
		"WriteBinary": func(w netpoll.Writer, p []byte) (int, error) { return w.WriteBinary(p) },
		"WriteString": func(w netpoll.Writer, p []byte) (int, error) {
			return w.WriteString(unsafe.String(unsafe.SliceData(p), len(p)))
		},
	} {
		for _, n := range []int{1, netpoll.BinaryInplaceThreshold, netpoll.BinaryInplaceThreshold + 1, 100_000} {
			t.Run(name, func(t *testing.T) {
				conn, peer := testnet.Dialed(t, "tcp")
				p := bytes.Repeat([]byte("a"), n)
				written, err := write(conn.Writer(), p)
				require.NoError(t, err)
				require.Equal(t, n, written)
				want := string(p)
				for i := range p {
					p[i] = 'b'
				}
				if n > netpoll.BinaryInplaceThreshold {
					want = string(p)
				}
				require.NoError(t, conn.Writer().Flush())
				arrives(t, peer, want)
			})
		}
	}
}

// Behaviour 4.2: WriteDirect always references, and inserts before the bytes that remain.
func TestWriteDirectReferencesAndInserts(t *testing.T) {
	conn, peer := testnet.Dialed(t, "tcp")
	w := conn.Writer()
	require.NoError(t, mallocString(w, "abc"))
	direct := []byte("__")
	require.NoError(t, w.WriteDirect(direct, 2))
	copy(direct, "XX")
	require.NoError(t, w.Flush())
	arrives(t, peer, "aXXbc")
}

// Behaviour 4.2: several WriteDirect calls, at later and at earlier positions, give each byte its place.
func TestSeveralWriteDirectCallsInAnyOrder(t *testing.T) {
	for name, c := range map[string]struct {
		inserts []insert
		want    string
	}{
		"later":         {[]insert{{"X", 8}, {"Y", 4}}, "01X2345Y6789"},
		"earlier":       {[]insert{{"X", 4}, {"Y", 9}}, "01" + "Y2345X6789"},
		"same place":    {[]insert{{"X", 5}, {"Y", 5}}, "01234XY56789"},
		"at both ends":  {[]insert{{"X", 10}, {"Y", 0}}, "X0123456789Y"},
		"earlier twice": {[]insert{{"X", 2}, {"Y", 6}, {"Z", 11}}, "0Z1234" + "Y567X89"},
	} {
		t.Run(name, func(t *testing.T) {
			conn, peer := testnet.Dialed(t, "tcp")
			require.NoError(t, mallocString(conn.Writer(), "0123456789"))
			for _, in := range c.inserts {
				require.NoError(t, conn.Writer().WriteDirect([]byte(in.text), in.remain))
			}
			require.NoError(t, conn.Writer().Flush())
			arrives(t, peer, c.want)
		})
	}
}

// insert is one WriteDirect.
type insert struct {
	text   string
	remain int
}

// Behaviour 4.2: a block that WriteDirect split has one owner: afterwards no two buffers share memory.
func TestWriteDirectLeavesNoSharedMemoryBehind(t *testing.T) {
	conn, peer := testnet.Dialed(t, "tcp")
	for range 20 {
		require.NoError(t, mallocString(conn.Writer(), "0123456789"))
		for _, remain := range []int{4, 8, 2, 6} {
			require.NoError(t, conn.Writer().WriteDirect([]byte("-"), remain))
		}
		require.NoError(t, conn.Writer().Flush())
		_, err := io.ReadFull(peer, make([]byte, 14))
		require.NoError(t, err)
	}
	var regions [][]byte
	for i := range 200 {
		p, err := netpoll.NewLinkBuffer().Malloc(1000)
		require.NoError(t, err)
		for j := range p {
			p[j] = byte(i)
		}
		regions = append(regions, p)
	}
	for i, p := range regions {
		require.True(t, bytes.Equal(bytes.Repeat([]byte{byte(i)}, len(p)), p), "buffer %d was overwritten", i)
	}
}

// Behaviour 4.1 and 4.2: any mix of methods sends what a plain list of bytes would hold.
func TestFlushSendsWhatAnyMixOfMethodsWrote(t *testing.T) {
	t.Parallel()
	conn, peer := testnet.Dialed(t, "tcp")
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		m := &outputModel{t: t, w: conn.Writer(), rnd: rnd}
		for range 1 + rnd.IntN(30) {
			m.step()
		}
		require.Equal(t, len(m.bytes), conn.Writer().MallocLen(), "seed %d", seed)
		if rnd.IntN(4) == 0 {
			keep := rnd.IntN(len(m.bytes) + 1)
			require.NoError(t, conn.Writer().MallocAck(keep))
			m.keep(keep)
		}
		want := m.finish()
		t.Logf("seed %d: %d bytes", seed, len(want))
		require.NoError(t, conn.Writer().Flush())
		arrives(t, peer, want)
	}
}

// outputModel writes at random and keeps a list of what must arrive. Bytes from Malloc are filled in at the end.
type outputModel struct {
	t     *testing.T
	w     netpoll.Writer
	rnd   *rand.Rand
	bytes []*byte // where each byte of the output is
	tail  int     // how many of them, at the end, WriteDirect may insert before: those of the last Malloc
	late  []*byte // those that finish fills in
}

// step calls one method.
func (m *outputModel) step() {
	size := m.rnd.IntN(300)
	if m.rnd.IntN(5) == 0 {
		size = m.rnd.IntN(12_000)
	}
	p := make([]byte, size)
	for i := range p {
		p[i] = byte(m.rnd.Uint32())
	}
	switch m.rnd.IntN(6) {
	case 0, 1:
		region, err := m.w.Malloc(size)
		require.NoError(m.t, err)
		require.Len(m.t, region, size)
		m.add(region)
		m.late = append(m.late, m.bytes[len(m.bytes)-size:]...)
		m.tail = size
	case 2:
		_, err := m.w.WriteBinary(p)
		require.NoError(m.t, err)
		m.add(p)
	case 3:
		_, err := m.w.WriteString(string(p))
		require.NoError(m.t, err)
		m.add(p)
	case 4:
		lb := netpoll.NewLinkBuffer()
		_, err := lb.WriteBinary(p)
		require.NoError(m.t, err)
		if m.rnd.IntN(2) == 0 {
			require.NoError(m.t, lb.Flush())
		}
		require.NoError(m.t, m.w.Append(lb))
		m.add(p)
	case 5:
		remain := m.rnd.IntN(m.tail + 1)
		require.NoError(m.t, m.w.WriteDirect(p, remain))
		at := len(m.bytes) - remain
		m.bytes = slices.Insert(m.bytes, at, pointers(p)...)
		m.tail = remain // an insert may be split by nothing, so stay behind it
	}
}

// add notes bytes at the end.
func (m *outputModel) add(p []byte) {
	m.bytes = append(m.bytes, pointers(p)...)
	m.tail = 0
}

func pointers(p []byte) (list []*byte) {
	for i := range p {
		list = append(list, &p[i])
	}
	return list
}

// keep notes that all but the first n bytes were dropped. Their memory may belong to another connection by now.
func (m *outputModel) keep(n int) {
	m.bytes = m.bytes[:n]
	kept := make(map[*byte]bool, n)
	for _, p := range m.bytes {
		kept[p] = true
	}
	m.late = slices.DeleteFunc(m.late, func(p *byte) bool { return !kept[p] })
}

// finish fills the memory from Malloc and returns the bytes that must arrive.
func (m *outputModel) finish() string {
	for _, p := range m.late {
		*p = byte(m.rnd.Uint32())
	}
	want := make([]byte, len(m.bytes))
	for i, p := range m.bytes {
		want[i] = *p
	}
	return string(want)
}

// Behaviour 4.3: Append takes flushed and unflushed bytes, empties the source, and nothing done to it later matters.
func TestAppendTakesEverythingAndEmptiesTheSource(t *testing.T) {
	conn, peer := testnet.Dialed(t, "tcp")
	w := conn.Writer()
	lb := netpoll.NewLinkBuffer()
	_, err := lb.WriteString("flushed,")
	require.NoError(t, err)
	require.NoError(t, lb.Flush())
	_, err = lb.WriteString("unflushed,")
	require.NoError(t, err)
	_, err = w.WriteString("before,")
	require.NoError(t, err)
	require.NoError(t, w.Append(lb))
	require.Zero(t, lb.Len())
	require.Zero(t, lb.MallocLen())
	require.True(t, lb.IsEmpty())
	require.NoError(t, lb.Release())
	require.NoError(t, lb.Close())
	for range 50 { // would get the blocks if they had been freed
		_, err := netpoll.NewLinkBuffer().WriteBinary(bytes.Repeat([]byte{0xff}, 1000))
		require.NoError(t, err)
	}
	_, err = w.WriteString("after")
	require.NoError(t, err)
	require.NoError(t, w.Flush())
	arrives(t, peer, "before,flushed,unflushed,after")
}

// Behaviour 4.3: a nil *LinkBuffer is a no-op.
func TestAppendOfNilLinkBufferDoesNothing(t *testing.T) {
	conn, peer := testnet.Dialed(t, "tcp")
	require.NoError(t, conn.Writer().Append((*netpoll.LinkBuffer)(nil)))
	require.Zero(t, conn.Writer().MallocLen())
	_, err := conn.Write([]byte("x"))
	require.NoError(t, err)
	arrives(t, peer, "x")
}

// Behaviour 4.6: asking for more than was allocated is an error, and harms nothing that was written.
func TestAskingForMoreThanWasAllocatedIsAnError(t *testing.T) {
	conn, peer := testnet.Dialed(t, "tcp")
	w := conn.Writer()
	require.NoError(t, mallocString(w, "01234"))
	misuse := map[string]func() error{
		"MallocAck beyond":              func() error { return w.MallocAck(6) },
		"MallocAck below 0":             func() error { return w.MallocAck(-1) },
		"WriteDirect before all":        func() error { return w.WriteDirect([]byte("x"), 6) },
		"WriteDirect long before all":   func() error { return w.WriteDirect([]byte("x"), 1<<30) },
		"Append of something unrelated": func() error { return w.Append(conn.Writer()) },
	}
	for name, do := range misuse {
		require.NotPanics(t, func() { require.Error(t, do(), name) }, name)
		require.Equal(t, 5, w.MallocLen(), name)
	}
	require.NoError(t, w.Flush())
	arrives(t, peer, "01234")
}

// Behaviour 4.6: appending a buffer to itself is an error.
func TestAppendToItselfIsAnError(t *testing.T) {
	lb := netpoll.NewLinkBuffer()
	_, err := lb.WriteString("text")
	require.NoError(t, err)
	require.NotPanics(t, func() {
		require.Error(t, lb.Append(lb))
		require.Error(t, lb.WriteBuffer(lb))
	})
	require.NoError(t, lb.Flush())
	require.Equal(t, "text", string(lb.Bytes()))
}

// Behaviour 4.6: a buffer whose blocks were moved away, or that was closed, can be used again.
func TestBufferCanBeUsedAgainAfterAppendOrClose(t *testing.T) {
	conn, peer := testnet.Dialed(t, "tcp")
	for name, use := range map[string]func(lb *netpoll.LinkBuffer) error{
		"appended": func(lb *netpoll.LinkBuffer) error { return conn.Writer().Append(lb) },
		"closed":   func(lb *netpoll.LinkBuffer) error { return lb.Close() },
	} {
		lb := netpoll.NewLinkBuffer()
		for i := range 3 {
			require.NotPanics(t, func() {
				require.NoError(t, mallocString(lb, "text"))
				require.NoError(t, lb.Flush())
				s, err := lb.ReadString(2)
				require.NoError(t, err)
				require.Equal(t, "te", s)
				require.NoError(t, use(lb))
				require.Zero(t, lb.Len())
			}, "%s, round %d", name, i)
		}
	}
	require.NoError(t, conn.Writer().Flush())
	arrives(t, peer, "xtxtxt")
}
