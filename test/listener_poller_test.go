//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package test

// Converted listeners that have a descriptor of their own, which is so where there is a poller.

import (
	"net"
	"os"
	"testing"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

// Behaviour 6.2: hertz closes the original listener; Serve goes on with the duplicate and returns nil after Shutdown.
func TestOriginalListenerClosedUnderServeIsHarmless(t *testing.T) {
	for name, convert := range map[string]bool{"plain": false, "converted": true} {
		t.Run(name, func(t *testing.T) {
			original := testkit.Listen(t, "tcp")
			ln := original
			if convert {
				converted, err := netpoll.ConvertListener(original)
				require.NoError(t, err)
				ln = converted
			}
			r := testnet.ServeOn(t, ln, testnet.Echo)
			testkit.ExpectEcho(t, testkit.Dial(t, original.Addr()), "before")
			require.NoError(t, original.Close())
			testkit.ExpectEcho(t, testkit.Dial(t, original.Addr()), "after")
			testnet.Shutdown(t, r.Loop)
			require.NoError(t, testkit.Receive(t, r.Served))
			requireRefused(t, original.Addr())
		})
	}
}

// Behaviour 6.2: closing the converted and the original listener, in either order, closes no descriptor twice.
func TestConvertedListenerClosesEachDescriptorOnce(t *testing.T) {
	for name, originalFirst := range map[string]bool{"original first": true, "converted first": false} {
		t.Run(name, func(t *testing.T) {
			original := testkit.Listen(t, "tcp")
			converted, err := netpoll.ConvertListener(original)
			require.NoError(t, err)
			first, second := net.Listener(converted), original
			if originalFirst {
				first, second = original, converted
			}
			require.NoError(t, first.Close())
			if originalFirst {
				acceptOne(t, converted, func() { testkit.Dial(t, converted.Addr()) })
			}
			// Newly opened files get the freed numbers. A second close would hit them.
			var files []*os.File
			for range 8 {
				f, err := os.Open(os.DevNull)
				require.NoError(t, err)
				defer f.Close()
				files = append(files, f)
			}
			_ = second.Close()
			_ = converted.Close()
			_ = original.Close()
			for _, f := range files {
				_, err := f.Stat()
				require.NoError(t, err, "somebody closed a descriptor of another")
			}
			requireRefused(t, original.Addr())
		})
	}
}
