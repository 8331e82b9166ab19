package pool_test

import (
	"testing"

	"github.com/cloudwego/netpoll/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }
