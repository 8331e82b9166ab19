package frame

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// stream is n messages in a row, with stamps from first.
func stream(t *testing.T, tpl *Template, first uint64, n int) []byte {
	t.Helper()
	out := make([]byte, n*tpl.Len())
	for i := range n {
		tpl.Put(out[i*tpl.Len():], first+uint64(i))
	}
	return out
}

func TestCheckerAcceptsWhatWasSentInPiecesOfAnySize(t *testing.T) {
	for _, size := range []int{MinPayload, 17, 64, 1000} {
		tpl, err := NewTemplate(size)
		require.NoError(t, err)
		sent := stream(t, tpl, 7, 3)
		for piece := 1; piece <= len(sent); piece += 1 + piece/3 {
			c := tpl.Checker(7)
			total := 0
			for off := 0; off < len(sent); off += piece {
				n, err := c.Feed(sent[off:min(off+piece, len(sent))])
				require.NoError(t, err, "size %d, pieces of %d", size, piece)
				total += n
			}
			require.Equal(t, 3, total)
		}
	}
}

func TestCheckerRejectsEveryCorruptedByte(t *testing.T) {
	tpl, err := NewTemplate(40)
	require.NoError(t, err)
	sent := stream(t, tpl, 1<<32, 2)
	for i := range sent {
		sent[i] ^= 0x10
		_, err := tpl.Checker(1 << 32).Feed(sent)
		require.Error(t, err, "byte %d", i)
		sent[i] ^= 0x10
	}
}

func TestCheckerRejectsResponsesOfOthersAndOutOfOrder(t *testing.T) {
	tpl, err := NewTemplate(64)
	require.NoError(t, err)
	for name, first := range map[string]uint64{"later": 6, "earlier": 4, "other connection": 1<<32 | 5} {
		_, err := tpl.Checker(5).Feed(stream(t, tpl, first, 1))
		require.Error(t, err, name)
	}
}

func TestVerifyWantsExactlyOneMessage(t *testing.T) {
	tpl, err := NewTemplate(64)
	require.NoError(t, err)
	require.NoError(t, tpl.Verify(stream(t, tpl, 3, 1), 3))
	require.Error(t, tpl.Verify(stream(t, tpl, 3, 2), 3))
	require.Error(t, tpl.Verify(stream(t, tpl, 3, 1)[:67], 3))
}

func TestWholeCountsCompleteFramesOnly(t *testing.T) {
	tpl, err := NewTemplate(20)
	require.NoError(t, err)
	sent := stream(t, tpl, 0, 2)
	for n := range len(sent) + 1 {
		require.Equal(t, n/tpl.Len()*tpl.Len(), Whole(sent[:n]), fmt.Sprint(n))
	}
}

func TestTemplateRefusesSizesOutsideTheBounds(t *testing.T) {
	for _, size := range []int{0, MinPayload - 1, MaxPayload + 1} {
		_, err := NewTemplate(size)
		require.Error(t, err)
	}
}
