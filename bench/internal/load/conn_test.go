package load

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll/bench/internal/frame"
)

func newTestConn(t *testing.T, depth int) (*conn, *frame.Template) {
	t.Helper()
	tpl, err := frame.NewTemplate(64)
	require.NoError(t, err)
	return newConn(-1, 3, depth, tpl), tpl
}

func TestConnAnswersInTheOrderOfRequests(t *testing.T) {
	c, tpl := newTestConn(t, 4)
	for due := range int64(3) {
		c.queue(due)
	}
	require.True(t, c.encode(tpl))
	require.Len(t, c.out, 3*tpl.Len(), "all that is queued is sent at once")
	require.Equal(t, 1, c.free())

	echoed := append([]byte(nil), c.out...)
	c.sent = len(c.out)
	done, err := c.receive(echoed[:tpl.Len()+10])
	require.NoError(t, err)
	require.Equal(t, 1, done)
	require.Equal(t, int64(0), c.answered())

	c.queue(7)
	require.True(t, c.encode(tpl))
	done, err = c.receive(append(echoed[tpl.Len()+10:], c.out...))
	require.NoError(t, err)
	require.Equal(t, 3, done)
	require.Equal(t, []int64{1, 2, 7}, []int64{c.answered(), c.answered(), c.answered()})
	require.Equal(t, 4, c.free())
}

func TestConnKeepsWhatIsNotSentBeforeItEncodesMore(t *testing.T) {
	c, tpl := newTestConn(t, 2)
	c.queue(0)
	require.True(t, c.encode(tpl))
	c.sent = 5
	before := append([]byte(nil), c.out...)
	c.queue(1)
	require.True(t, c.encode(tpl))
	require.Equal(t, before, c.out)
	require.Equal(t, 5, c.sent)
	c.sent = len(c.out)
	require.True(t, c.encode(tpl))
	require.Zero(t, c.sent)
	c.sent = len(c.out)
	require.False(t, c.encode(tpl), "nothing is queued any more")
}

func TestConnRejectsWrongAndUnaskedResponses(t *testing.T) {
	c, tpl := newTestConn(t, 1)
	c.queue(0)
	require.True(t, c.encode(tpl))
	bad := append([]byte(nil), c.out...)
	bad[20] ^= 1
	_, err := c.receive(bad)
	require.ErrorContains(t, err, "differs")

	c, tpl = newTestConn(t, 1)
	unasked := make([]byte, tpl.Len())
	tpl.Put(unasked, firstStamp(3))
	_, err = c.receive(unasked)
	require.ErrorContains(t, err, "1 responses to 0 requests")
}
