package main

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll/reliability/internal/child"
)

func TestMain(m *testing.M) {
	child.Main(roles)
	os.Exit(m.Run())
}

// A short form of every scenario: memory, descriptors and the log stay within their limits, the well-behaved client gets
// every answer, and afterwards the server is as before.
func TestServerStaysWithinBoundsUnderAttack(t *testing.T) {
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			_, err := s.run(s.short, 750*time.Millisecond)
			require.NoError(t, err)
		})
	}
}
