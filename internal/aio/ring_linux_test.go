package aio

// This file proves how rings are made and closed: the kernel's layouts, what is not the known layout, refusals, and that
// nothing leaks.

import (
	"bytes"
	"fmt"
	"os"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testkit/ringtest"
)

func TestLayoutsAreTheKernels(t *testing.T) {
	require.EqualValues(t, 8, unsafe.Offsetof(iocb{}.words))
	require.EqualValues(t, 16, unsafe.Offsetof(iocb{}.opcode))
	require.EqualValues(t, 20, unsafe.Offsetof(iocb{}.fd))
	require.EqualValues(t, 24, unsafe.Offsetof(iocb{}.buf))
	require.EqualValues(t, 32, unsafe.Offsetof(iocb{}.size))
	require.EqualValues(t, 40, unsafe.Offsetof(iocb{}.offset))
	require.EqualValues(t, 56, unsafe.Offsetof(iocb{}.flags))
	require.EqualValues(t, 16, unsafe.Offsetof(event{}.res))
	require.EqualValues(t, 8, unsafe.Offsetof(header{}.head))
	require.EqualValues(t, 16, unsafe.Offsetof(header{}.magic))
	require.EqualValues(t, 28, unsafe.Offsetof(header{}.headerLength))
}

func TestEventsAreReadFromMemory(t *testing.T) {
	ring := newRing(t, 8)
	require.NotNil(t, ring.header, "the layout of this kernel is not known")
	require.GreaterOrEqual(t, len(ring.events), 8)
	require.Equal(t, 8, ring.Cap())
	ring.sys.getEvents = func(uintptr, int, []event, *unix.Timespec) (int, unix.Errno) {
		t.Error("events fetched by a call")
		return -1, unix.ENOSYS
	}
	a, b := ringtest.NewPair(t, "unix")
	for range 3 * len(ring.events) { // round the ring of events, several times
		buf := make([]byte, 8)
		require.True(t, ring.Send(a, []byte("x"), 0))
		require.True(t, ring.Recv(b, buf, 1))
		results, err := ringtest.Submit(t, ring)
		require.NoError(t, err)
		require.Equal(t, []int32{1, 1}, results)
		require.EqualValues(t, 'x', buf[0])
	}
}

// The ring looks at the address that io_setup gives only if it is mapped, and uses it only if the whole layout is
// known.
func TestLayoutThatIsNotKnownIsNotUsed(t *testing.T) {
	page := unix.Getpagesize()
	fits := uint32((page - headerLength) / int(unsafe.Sizeof(event{})))
	for _, c := range []struct {
		name  string
		spoil func(h *header)
		known bool
	}{
		{"as known", func(*header) {}, true},
		{"other magic", func(h *header) { h.magic++ }, false},
		{"incompatible", func(h *header) { h.incompat = 1 }, false},
		{"longer header", func(h *header) { h.headerLength = 64 }, false},
		{"no room", func(h *header) { h.nr = 0 }, false},
		{"a part of a page", func(h *header) { h.nr-- }, false},
		{"more than is mapped", func(h *header) { h.nr += 2 * uint32(page) / 32 }, false},
		{"absurdly much", func(h *header) { h.nr = 1<<32 - 1 }, false},
		{"in use", func(h *header) { h.head, h.tail = 3, 3 }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			mem, err := mmap(page)
			require.NoError(t, err)
			defer unix.Munmap(mem)
			id := uintptr(unsafe.Pointer(&mem[0]))
			h := (*header)(unsafe.Pointer(&mem[0]))
			*h = header{nr: fits, magic: headerMagic, compat: 1, headerLength: headerLength}
			c.spoil(h)
			r := &Ring{sys: kernel, id: id}
			r.sys.mapped = func(address, length uintptr) bool { return mapped(address, length) && length <= uintptr(page) }
			got, events := r.eventsInMemory()
			require.Equal(t, c.known, got != nil)
			if c.known {
				require.Len(t, events, int(fits))
			}
		})
	}
	for _, id := range []uintptr{uintptr(page), 77} { // not mapped, and no page
		got, _ := (&Ring{sys: kernel, id: id}).eventsInMemory()
		require.Nil(t, got)
	}
}

func TestNewFailsWithoutLeavingAnything(t *testing.T) {
	before := contexts(t)
	for _, entries := range []uint32{0, maxEvents + 1} {
		_, err := New(entries)
		require.ErrorIs(t, err, unix.EINVAL)
	}
	_, err := New(maxEvents) // more than the machine has, whatever its limit
	require.Error(t, err)
	require.ErrorContains(t, err, "io_setup")
	replaceKernel(t, func(k *kernelCalls) {
		k.setup = func(uint32) (uintptr, unix.Errno) { return 0, unix.EAGAIN }
	})
	ring, err := New(4)
	require.ErrorIs(t, err, unix.EAGAIN)
	require.Nil(t, ring)
	kernel.setup = setup
	kernel.mmap = func(int) ([]byte, error) { return nil, unix.ENOMEM }
	_, err = New(4)
	require.ErrorIs(t, err, unix.ENOMEM)
	testkit.Eventually(t, func() bool { return contexts(t) <= before }, "contexts go")
}

func TestCloseFreesTheContext(t *testing.T) {
	ring, err := New(8)
	require.NoError(t, err)
	start := fmt.Sprintf("%x-", ring.id)
	mapped := func() bool {
		maps, err := os.ReadFile("/proc/self/maps")
		require.NoError(t, err)
		return bytes.Contains(maps, []byte(start))
	}
	require.True(t, mapped())
	require.NoError(t, ring.Close())
	require.NoError(t, ring.Close())
	testkit.Eventually(t, func() bool { return !mapped() }, "the context goes")
}

// contexts counts the contexts of AIO that this process has, by their mappings.
func contexts(t *testing.T) int {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	require.NoError(t, err)
	return bytes.Count(maps, []byte("/[aio]"))
}
