//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// However many descriptors come and go, the table of slots is as large as the most that there were at once, with batches
// that run meanwhile and without. A token comes again only after all the others that its slot can have: a 32-bit
// system's kqueue has room for so few generations that this happens here.
func TestSlotsAreUsedAgain(t *testing.T) {
	for name, batch := range map[string]bool{"between batches": false, "in batches": true} {
		t.Run(name, func(t *testing.T) {
			var table slotTable
			lastUse := make(map[uint64]int)
			for use := range 20 * slotsPerChunk {
				w := new(watch)
				require.True(t, table.put(w))
				if last, again := lastUse[w.token]; again {
					require.GreaterOrEqual(t, uint32(use-last), maxGen, "a token that was in use shortly before")
				}
				lastUse[w.token] = use
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
