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

// Requests above capacity are held back or have to wait, no accepted request is lost, memory stays within limits, and
// afterwards the server is as before.
func TestServerOutlivesOverload(t *testing.T) {
	for _, one := range trials {
		t.Run(one.name, func(t *testing.T) {
			_, err := run(one.name, one.server, func(t *trial) error { return one.body(t, time.Second) })
			require.NoError(t, err)
		})
	}
}
