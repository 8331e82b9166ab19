package metric

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// Each time is in the bucket with the least limit that it does not exceed.
func TestBucketHasTheLeastLimit(t *testing.T) {
	for _, took := range []int64{-1, 0, 1, 255, 256, 257, 512, 513, 1 << 20, 1<<20 + 1, math.MaxInt64} {
		b := Bucket(took)
		if b < Buckets-1 {
			require.LessOrEqual(t, took, int64(Limit(b)), "%d is in bucket %d", took, b)
		}
		if b > 0 {
			require.Greater(t, took, int64(Limit(b-1)), "%d is in bucket %d", took, b)
		}
	}
}

func TestShardsOfASetAreOneSum(t *testing.T) {
	var s Set
	for n := range uint(3 * shards) {
		s.Shard(n).Received(10)
		s.Shard(n).Sent(-1)
	}
	var receives, in, sends, out uint64
	s.Each(func(c *Counters) {
		receives += c.Receives.Load()
		in += c.BytesIn.Load()
		sends += c.Sends.Load()
		out += c.BytesOut.Load()
	})
	require.EqualValues(t, 3*shards, receives)
	require.EqualValues(t, 30*shards, in)
	require.EqualValues(t, 3*shards, sends)
	require.Zero(t, out, "an error sends nothing")
}

// BenchmarkCountsOfOneRequest adds what is added for one request that comes alone, by plain calls.
func BenchmarkCountsOfOneRequest(b *testing.B) {
	var s Set
	c := s.Shard(1)
	b.ReportAllocs()
	for b.Loop() {
		c.Polls.Add(2)
		c.Received(64)
		c.Single[Bucket(700)].Add(1)
		c.Busy.Add(700)
		c.Sent(64)
	}
}
