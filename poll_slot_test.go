//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// However many descriptors come and go, the table of slots is as large as the most that there were at once, with batches
// that run meanwhile and without.
func TestSlotsAreUsedAgain(t *testing.T) {
	for name, batch := range map[string]bool{"between batches": false, "in batches": true} {
		t.Run(name, func(t *testing.T) {
			var table slotTable
			tokens := make(map[uint64]bool)
			for range 20 * slotsPerChunk {
				w := new(watch)
				require.True(t, table.put(w))
				require.False(t, tokens[w.token], "a token that was in use before")
				tokens[w.token] = true
				if batch {
					table.beginBatch()
				}
				require.True(t, table.drop(w.token), "the last one in use")
				if batch {
					table.endBatch()
				}
			}
			require.Len(t, *table.chunks.Load(), 1)
		})
	}
}
