package local

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMessagesAreChecked(t *testing.T) {
	for _, size := range []int{MinSize, 64, 1 << 20} {
		p := make([]byte, size)
		Put(p, Echo, 77)
		got, kind, err := Header(p[:HeaderLen])
		require.NoError(t, err)
		require.Equal(t, size, got)
		require.Equal(t, Echo, kind)
		number, err := Check(p)
		require.NoError(t, err)
		require.EqualValues(t, 77, number)
		_, err = Check(p[:len(p)-1])
		require.Error(t, err, "a part of it")
		p[len(p)-1]++
		_, err = Check(p)
		require.Error(t, err, "another end")
	}
	_, _, err := Header(make([]byte, HeaderLen))
	require.Error(t, err)
}
