package netpoll

// This file holds the tests of LinkBuffer's writing, line by line.

import (
	"bytes"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// Behaviour 4.1: nothing is readable before Flush, and what Malloc returned stays in place through any mix.
func TestMallocStaysInPlaceUntilFlush(t *testing.T) {
	b := NewLinkBuffer()
	head := malloc(t, b, "....")
	_, _ = b.WriteString("one ")
	_, _ = b.WriteBinary(bytes.Repeat([]byte("x"), BinaryInplaceThreshold+1))
	mid := malloc(t, b, "..")
	require.NoError(t, b.WriteDirect([]byte("direct"), 1))
	src := NewLinkBuffer()
	tail := malloc(t, src, "....")
	require.NoError(t, b.Append(src))
	_ = malloc(t, b, strings.Repeat("y", 10_000))
	require.Equal(t, 0, b.Len())
	require.Equal(t, 4+4+BinaryInplaceThreshold+1+2+6+4+10_000, b.MallocLen())
	copy(head, "head")
	copy(mid, "AB")
	copy(tail, "tail")
	want := "headone " + strings.Repeat("x", BinaryInplaceThreshold+1) + "AdirectB" + "tail" + strings.Repeat("y", 10_000)
	require.Equal(t, want, content(t, b))
	require.Equal(t, 0, b.MallocLen())
}

// Behaviour 4.1: MallocAck keeps the first n bytes, over WriteDirect inserts too.
func TestMallocAckKeepsTheFirstBytes(t *testing.T) {
	for n := range 15 {
		b := new(LinkBuffer)
		_, _ = b.WriteString("old")
		require.NoError(t, b.Flush())
		_ = malloc(t, b, "abcdef")
		require.NoError(t, b.WriteDirect([]byte("123"), 4))
		require.NoError(t, b.WriteDirect([]byte("456"), 1))
		_ = malloc(t, b, "gh")
		require.NoError(t, b.MallocAck(n))
		require.Equal(t, n, b.MallocLen())
		_, _ = b.WriteString("!")
		require.Equal(t, "oldab123cde456fgh"[:3+n]+"!", content(t, b))
	}
}

// Behaviour 4.2: up to 4096 bytes are copied, longer ones are referenced.
func TestWritesCopyUpToTheThreshold(t *testing.T) {
	for _, tc := range []struct {
		size   int
		copied bool
	}{{BinaryInplaceThreshold, true}, {BinaryInplaceThreshold + 1, false}} {
		b := NewLinkBuffer()
		p := bytes.Repeat([]byte("x"), tc.size)
		_, err := b.WriteBinary(p)
		require.NoError(t, err)
		require.NoError(t, b.Flush())
		require.Equal(t, tc.copied, b.ownsAll())
		q, err := b.Peek(tc.size)
		require.NoError(t, err)
		require.Equal(t, tc.copied, unsafe.SliceData(p) != unsafe.SliceData(q))
	}
}

// Behaviour 4.2: referenced memory is never written to, whatever is cut from it and written behind it.
func TestReferencedMemoryIsNeverWrittenTo(t *testing.T) {
	p := bytes.Repeat([]byte("x"), 2*BinaryInplaceThreshold)
	b := NewLinkBuffer()
	_, _ = b.WriteBinary(p[:BinaryInplaceThreshold+10])
	require.NoError(t, b.MallocAck(100))
	_, _ = b.WriteString("yyy")
	require.NoError(t, b.WriteDirect(p[:50], 20))
	require.NoError(t, b.MallocAck(83+50+10)) // ten bytes behind the insert
	_, _ = b.WriteString("zzz")
	require.NoError(t, b.MallocAck(90+50))
	_, _ = b.WriteString("zzz")
	require.NoError(t, b.MallocAck(90))
	_, _ = b.WriteString("zzz")
	require.Equal(t, strings.Repeat("x", 90)+"zzz", content(t, b))
	require.Equal(t, 2*BinaryInplaceThreshold, bytes.Count(p, []byte("x")))
}

// Behaviour 4.2: WriteDirect inserts at later and earlier positions, and no block gets two owners.
func TestWriteDirectSplitsBlocksAnywhere(t *testing.T) {
	SetMemoryDebug(func(err error) { t.Error(err) })
	defer SetMemoryDebug(nil)
	type insert struct {
		text   string
		remain int
	}
	for _, tc := range []struct {
		name    string
		inserts []insert
		want    string
	}{
		{"the documented example", []insert{{"XX", 2}}, "aXXbc"},
		{"at the start", []insert{{"XX", 3}}, "XXabc"},
		{"at the end", []insert{{"XX", 0}}, "abcXX"},
		{"later ones", []insert{{"X", 3}, {"Y", 2}, {"Z", 1}, {"W", 0}}, "XaYbZcW"},
		{"earlier ones", []insert{{"X", 0}, {"Y", 2}, {"Z", 4}}, "aZbYcX"},
		{"one at the same place", []insert{{"X", 2}, {"Y", 2}, {"Z", 4}}, "aZXYbc"},
		{"inside another", []insert{{"XYZ", 1}, {"-", 2}}, "abXY-Zc"},
		{"nothing", []insert{{"", 1}}, "abc"},
	} {
		for _, before := range []string{"", "flushed"} {
			t.Run(tc.name+before, func(t *testing.T) {
				blocks := blocksOut.Load()
				b := new(LinkBuffer)
				_, _ = b.WriteString(before)
				require.NoError(t, b.Flush())
				p := malloc(t, b, "???")
				for _, in := range tc.inserts {
					require.NoError(t, b.WriteDirect([]byte(in.text), in.remain))
				}
				copy(p, "abc")
				require.Equal(t, before+tc.want, content(t, b))
				require.NoError(t, b.Close())
				require.Equal(t, blocks, blocksOut.Load(), "blocks still in use")
			})
		}
	}
}

// Behaviour 4.3: Append moves flushed and unflushed bytes and empties the source, which may be closed and released.
func TestAppendMovesEverything(t *testing.T) {
	src := written(t, "abc", "def")
	require.NoError(t, src.Skip(1))
	p := malloc(t, src, "???")
	b := NewLinkBuffer()
	_, _ = b.WriteString("<")
	require.NoError(t, b.Append(src))
	_, _ = b.WriteString(">")
	require.Equal(t, 10, b.MallocLen())
	requireHoldsNothing(t, src)
	require.NoError(t, src.Release())
	require.NoError(t, src.Close())
	copy(p, "ghi")
	require.Equal(t, "<bcdefghi>", content(t, b))

	var none *LinkBuffer
	require.NoError(t, b.Append(none))
	require.NoError(t, b.WriteBuffer(none))
	require.NoError(t, b.Append(new(LinkBuffer)))
	require.Equal(t, "<bcdefghi>", content(t, b))
}

// Behaviour 4.6: misuse is an error that changes nothing.
func TestMisuseIsAnError(t *testing.T) {
	for name, misuse := range map[string]func(b *LinkBuffer) error{
		"MallocAck beyond":           func(b *LinkBuffer) error { return b.MallocAck(4) },
		"MallocAck negative":         func(b *LinkBuffer) error { return b.MallocAck(-1) },
		"WriteDirect remains beyond": func(b *LinkBuffer) error { return b.WriteDirect([]byte("x"), 4) },
		"WriteDirect negative":       func(b *LinkBuffer) error { return b.WriteDirect([]byte("x"), -1) },
		"Malloc of too much":         func(b *LinkBuffer) error { _, err := b.Malloc(maxMalloc + 1); return err },
		"Append to itself":           func(b *LinkBuffer) error { return b.Append(b) },
		"WriteBuffer to itself":      func(b *LinkBuffer) error { return b.WriteBuffer(b) },
	} {
		t.Run(name, func(t *testing.T) {
			b := NewLinkBuffer()
			_ = malloc(t, b, "abc")
			require.ErrorIs(t, misuse(b), ErrBufferMisuse)
			require.Equal(t, "abc", content(t, b))
		})
	}
	require.ErrorIs(t, NewLinkBuffer().Append(nil), ErrUnsupported)
}

// Behaviour 4.6: a buffer whose blocks were moved away, or that was closed, can be used again.
func TestBufferCanBeUsedAgain(t *testing.T) {
	for name, end := range map[string]func(b *LinkBuffer) error{
		"closed":    (*LinkBuffer).Close,
		"appended":  func(b *LinkBuffer) error { return NewLinkBuffer().Append(b) },
		"abandoned": func(b *LinkBuffer) error { b.abandon(); return nil },
	} {
		for _, b := range []*LinkBuffer{new(LinkBuffer), NewLinkBuffer(), NewLinkBuffer(10_000)} {
			for range 3 {
				_, _ = b.WriteString("abc")
				require.NoError(t, b.Flush())
				_, err := b.Next(1)
				require.NoError(t, err)
				_ = malloc(t, b, "def")
				require.NoError(t, end(b), name)
				require.Equal(t, 0, b.Len(), name)
				require.Equal(t, 0, b.MallocLen(), name)
				require.NoError(t, b.Release(), name)
				_, err = b.Next(1)
				require.ErrorIs(t, err, ErrNotEnoughData, name)
			}
			_, _ = b.WriteString("again")
			require.Equal(t, "again", content(t, b), name)
			require.NoError(t, b.Close())
			requireHoldsNothing(t, b)
		}
	}
}
