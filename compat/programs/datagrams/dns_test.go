package datagrams

// miekg/dns, which knows sockets of package net and takes others as any net.PacketConn.

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
)

// answerTo gives each name its own text, which is as long as the name says.
func answerTo(question *dns.Msg) *dns.Msg {
	answer := new(dns.Msg).SetReply(question)
	for _, q := range question.Question {
		var n int
		_, _ = fmt.Sscanf(q.Name, "n%d.", &n)
		answer.Answer = append(answer.Answer, &dns.TXT{
			Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 1}, Txt: texts(q.Name, n)})
	}
	size := dns.MinMsgSize
	if edns := question.IsEdns0(); edns != nil {
		size = int(edns.UDPSize())
	}
	answer.Truncate(size)
	return answer
}

// texts are n bytes in strings that a TXT may have.
func texts(name string, n int) (list []string) {
	text := strings.Repeat(name, n/len(name)+1)[:n]
	for len(text) > 200 {
		list, text = append(list, text[:200]), text[200:]
	}
	return append(list, text)
}

// question asks for n bytes.
func question(i, n int) *dns.Msg {
	q := new(dns.Msg).SetQuestion(fmt.Sprintf("n%d.q%d.test.", n, i), dns.TypeTXT)
	return q.SetEdns0(4096, false)
}

// requireAnswer fails unless answer is that to q.
func requireAnswer(t *testing.T, q, answer *dns.Msg) {
	t.Helper()
	want := answerTo(q)
	require.Equal(t, want.Id, answer.Id)
	require.Equal(t, want.Truncated, answer.Truncated)
	require.Equal(t, fmt.Sprint(want.Answer), fmt.Sprint(answer.Answer))
}

// serveDNS serves a socket by the server of miekg/dns until the end of the test.
func serveDNS(t *testing.T, conn net.PacketConn) (to string) {
	t.Helper()
	begun := make(chan struct{})
	server := &dns.Server{PacketConn: conn, NotifyStartedFunc: func() { close(begun) },
		Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) { _ = w.WriteMsg(answerTo(q)) })}
	served := make(chan error, 1)
	go func() { served <- server.ActivateAndServe() }()
	await(t, begun, "the server")
	t.Cleanup(func() {
		require.NoError(t, server.ShutdownContext(timeLimit(t)))
		require.NoError(t, await(t, served, "the end of the server"))
	})
	return conn.LocalAddr().String()
}

// dialDNS dials a server by a connected socket.
func dialDNS(t *testing.T, ours bool, address string) *dns.Conn {
	t.Helper()
	to, err := netpoll.ResolveUDPAddr("udp", address)
	require.NoError(t, err)
	dial := func() (net.Conn, error) { return net.DialUDP("udp", nil, to) }
	if ours {
		dial = func() (net.Conn, error) { return netpoll.DialUDP("udp", nil, to) }
	}
	conn, err := dial()
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return &dns.Conn{Conn: conn, UDPSize: 4096}
}

// askAll asks a server by several clients at once.
func askAll(t *testing.T, ours bool, address string) {
	t.Helper()
	client := &dns.Client{Timeout: patience}
	var clients sync.WaitGroup
	for k := range 8 {
		conn := dialDNS(t, ours, address)
		clients.Go(func() {
			for i := range 50 {
				q := question(k*1000+i, i*20)
				answer, _, err := client.ExchangeWithConn(q, conn)
				if err != nil {
					t.Error(err)
					return
				}
				requireAnswer(t, q, answer)
			}
		})
	}
	clients.Wait()
}

func TestDNSServesAndAsks(t *testing.T) {
	overSides(t, func(t *testing.T, on sides) {
		address := serveDNS(t, socket(t, on.server, "127.0.0.1:0"))
		askAll(t, on.client, address)

		conn := dialDNS(t, on.client, address)
		long := question(1, 6000) // more than the client takes
		answer, _, err := (&dns.Client{Timeout: patience}).ExchangeWithConn(long, conn)
		require.NoError(t, err)
		require.True(t, answer.Truncated)
		requireAnswer(t, long, answer)
	})
}

// A server with two sockets on one address.
func TestDNSServesByTwoSockets(t *testing.T) {
	conns, err := netpoll.ListenPackets("udp", "127.0.0.1:0", 2)
	require.NoError(t, err)
	var address string
	for _, conn := range conns {
		address = serveDNS(t, conn)
	}
	askAll(t, true, address)
}

// Shutdown ends a server that waits for questions, by a deadline.
func TestDNSServerShutsDownWhileIdle(t *testing.T) {
	overSides(t, func(t *testing.T, on sides) {
		conn := socket(t, on.server, "127.0.0.1:0")
		serveDNS(t, conn)
	})
}

// Nobody answers: the client's deadline ends its wait. Nobody is there: it gets the system's report.
func TestDNSClientEndsWithoutAnswer(t *testing.T) {
	overSides(t, func(t *testing.T, on sides) {
		mute := socket(t, on.server, "127.0.0.1:0")
		conn := dialDNS(t, on.client, mute.LocalAddr().String())
		_, _, err := (&dns.Client{Timeout: 20 * time.Millisecond}).ExchangeWithConn(question(1, 1), conn)
		var timeout net.Error
		require.ErrorAs(t, err, &timeout)
		require.True(t, timeout.Timeout())

		require.NoError(t, mute.Close())
		_, _, err = (&dns.Client{Timeout: patience}).ExchangeWithConn(question(1, 1), conn)
		require.ErrorAs(t, err, &timeout)
		require.False(t, timeout.Timeout())
	})
}

// A server on a PacketLoop reads and writes messages by the same package.
func TestDNSMessagesOnAPacketLoop(t *testing.T) {
	loop, err := netpoll.NewPacketLoop(func(_ context.Context, conn *netpoll.UDPConn, packets []netpoll.Packet) error {
		answers := packets[:0]
		for _, p := range packets {
			q := new(dns.Msg)
			if q.Unpack(p.Data) != nil {
				continue
			}
			var err error
			if p.Data, err = answerTo(q).Pack(); err == nil {
				answers = append(answers, p)
			}
		}
		_, err := conn.WriteBatch(answers)
		return err
	}, netpoll.WithPacketInfo())
	require.NoError(t, err)
	conns, err := netpoll.ListenPackets("udp4", ":0", 2)
	require.NoError(t, err)
	for _, conn := range conns {
		serve(t, loop, conn)
	}
	port := conns[0].LocalAddr().(*net.UDPAddr).Port
	for _, ours := range []bool{false, true} {
		askAll(t, ours, fmt.Sprintf("127.0.0.1:%d", port))
	}
}
