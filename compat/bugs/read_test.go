package bugs

// Reading from a connection.

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
)

// Behaviour 3.5: the timeout of Until is for the whole call, whatever trickles in.
func TestUntilTimeoutCoversTheWholeCall(t *testing.T) {
	conn, peer := pair(t)
	must(t, conn.SetReadTimeout(4*short))
	result := async(func() error {
		_, err := conn.Reader().Until('\n')
		return err
	})
	tick := time.NewTicker(short)
	defer tick.Stop()
	for range 60 { // 15 times the timeout
		select {
		case err := <-result:
			if !errors.Is(err, netpoll.ErrReadTimeout) {
				t.Fatalf("Until ended with %v", err)
			}
			return
		case <-tick.C:
			send(t, peer, "x")
		}
	}
	t.Fatal("Until still waits after 15 times its timeout")
}

// Behaviour 3.8: a deadline ends a Read that is blocked already.
func TestDeadlineEndsABlockedRead(t *testing.T) {
	conn, _ := pair(t)
	result := blocked(t, func() error {
		_, err := conn.Read(make([]byte, 1))
		return err
	})
	must(t, conn.SetReadDeadline(time.Now().Add(short)))
	if err := await(t, result, "the end of the Read"); !errors.Is(err, netpoll.ErrReadTimeout) {
		t.Fatalf("Read ended with %v", err)
	}
}

// Behaviour 3.8: a timeout that is set meanwhile ends a Read that is blocked already.
func TestTimeoutEndsABlockedRead(t *testing.T) {
	conn, _ := pair(t)
	result := blocked(t, func() error {
		_, err := conn.Reader().Next(1)
		return err
	})
	must(t, conn.SetReadTimeout(short))
	if err := await(t, result, "the end of the Next"); !errors.Is(err, netpoll.ErrReadTimeout) {
		t.Fatalf("Next ended with %v", err)
	}
}

// Behaviour 3.8: setting a deadline is no data race with a call that is blocked.
func TestSettingADeadlineIsNoDataRace(t *testing.T) {
	conn, peer := pair(t)
	var wg sync.WaitGroup
	var done atomic.Bool
	read := make(chan error)
	wg.Go(func() {
		for !done.Load() {
			if err := conn.SetReadDeadline(time.Now().Add(2 * patience)); err != nil {
				t.Error(err)
			}
			time.Sleep(10 * time.Microsecond)
		}
	})
	wg.Go(func() {
		for range 300 {
			_, err := conn.Reader().Next(1)
			read <- err
		}
	})
	for range 300 { // one at a time, so that each Next has to wait
		send(t, peer, "x")
		must(t, await(t, read, "the end of the Next"))
	}
	done.Store(true)
	wg.Wait()
}

// Behaviour 3.9: Read may be called from many goroutines, and the end of the stream wakes each.
func TestEndWakesEveryBlockedRead(t *testing.T) {
	conn, peer := pair(t)
	var results [3]<-chan error
	for i := range results {
		results[i] = async(func() error {
			_, err := conn.Read(make([]byte, 1))
			return err
		})
	}
	time.Sleep(calm) // so that all of them wait; the test holds even if one does not yet
	must(t, peer.Close())
	for _, result := range results {
		if err := await(t, result, "the end of each Read"); err != io.EOF {
			t.Errorf("Read ended with %v", err)
		}
	}
}

// Behaviour 3.10: Release after Close freezes no other connection.
func TestReleaseAfterCloseHarmsNobody(t *testing.T) {
	s := serve(t, "127.0.0.1:0", echo)
	for range 20 {
		old, err := netpoll.DialConnection("tcp", s.addr, patience)
		must(t, err)
		ask(t, old)
		must(t, old.Close())
		keep := make([]netpoll.Connection, 40) // one of them reuses the resources of the old one
		for i := range keep {
			keep[i], err = netpoll.DialConnection("tcp", s.addr, patience)
			must(t, err)
			ask(t, keep[i])
		}
		panicked := releaseTwice(old)
		for _, conn := range keep {
			must(t, conn.SetReadTimeout(time.Second))
			if _, err := conn.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Read(make([]byte, 1)); err != nil {
				t.Fatalf("another connection is frozen: %v (Release panicked: %v)", err, panicked)
			}
			must(t, conn.Close())
		}
		if panicked {
			t.Fatal("Release after Close panics")
		}
	}
}

// ask sends a byte and waits for its echo.
func ask(t testing.TB, conn netpoll.Connection) {
	t.Helper()
	_, err := conn.Write([]byte("x"))
	must(t, err)
	_, err = io.ReadFull(conn, make([]byte, 1))
	must(t, err)
}

func releaseTwice(conn netpoll.Connection) (panicked bool) {
	defer func() { panicked = recover() != nil }()
	_ = conn.Reader().Release()
	_ = conn.Reader().Release()
	return false
}
