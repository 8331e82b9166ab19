//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package sock

// Reading control messages of any origin.

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// found lists the descriptors in oob.
func found(oob []byte) (fds []int) {
	EachDescriptor(oob, func(fd int) { fds = append(fds, fd) })
	return fds
}

func TestDescriptorsAreFoundInControlMessages(t *testing.T) {
	one, three := unix.UnixRights(7), unix.UnixRights(1, 2, 3)
	other := unix.UnixRights(9)
	putControl(other, unix.Cmsghdr{Level: unix.SOL_SOCKET, Type: 0x7f}, other[unix.CmsgLen(0):unix.CmsgLen(4)])
	join := func(list ...[]byte) (oob []byte) {
		for _, m := range list {
			oob = append(oob, m...)
		}
		return oob
	}
	for name, c := range map[string]struct {
		oob  []byte
		want []int
	}{
		"nothing":         {nil, nil},
		"one":             {one, []int{7}},
		"several":         {three, []int{1, 2, 3}},
		"two messages":    {join(one, three), []int{7, 1, 2, 3}},
		"another kind":    {join(other, one), []int{7}},
		"no header":       {one[:unix.CmsgLen(0)-1], nil},
		"a cut message":   {join(one, three[:unix.CmsgLen(0)]), []int{7}},
		"without padding": {one[:unix.CmsgLen(4)], []int{7}},
		"an errno in its place": {func() []byte {
			oob := unix.UnixRights(5)
			putControl(oob, unix.Cmsghdr{Level: unix.SOL_SOCKET, Type: unix.SCM_RIGHTS}, []byte{0xff, 0xff, 0xff, 0xff})
			return oob
		}(), nil},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, found(c.oob)) })
	}
}

// Whatever the bytes are, nothing is found outside of them, and what the standard parser takes for descriptors is found.
func FuzzControlMessages(f *testing.F) {
	f.Add(unix.UnixRights(1, 2, 3))
	f.Add(append(unix.UnixRights(4), unix.UnixRights(5)...))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 1, 0, 0, 0, 1, 0, 0, 0})
	f.Fuzz(func(t *testing.T, oob []byte) {
		fds := found(oob)
		require.LessOrEqual(t, len(fds)*sizeofFd, len(oob))
		list, err := unix.ParseSocketControlMessage(oob)
		if err != nil {
			return
		}
		for i := range list {
			if !isRights(&list[i].Header) || len(list[i].Data)%sizeofFd != 0 { // which the standard parser cannot read
				continue
			}
			parsed, err := unix.ParseUnixRights(&list[i])
			require.NoError(t, err)
			for _, fd := range parsed {
				if int32(fd) >= 0 {
					require.Contains(t, fds, fd)
				}
			}
		}
	})
}
