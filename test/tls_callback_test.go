package test

// Functions of a tls.Config that do not return as they should.

import (
	"context"
	"crypto/tls"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

// configFunctions are those that run in the handshake of a server, and how to set one that first calls f.
var configFunctions = map[string]func(config *tls.Config, f func()){
	"GetConfigForClient": func(config *tls.Config, f func()) {
		config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { f(); return nil, nil }
	},
	"GetCertificate": func(config *tls.Config, f func()) {
		cert := config.Certificates[0]
		config.Certificates = nil
		config.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { f(); return &cert, nil }
	},
	"VerifyConnection": func(config *tls.Config, f func()) {
		config.VerifyConnection = func(tls.ConnectionState) error { f(); return nil }
	},
}

// The handshake fails, its place is free again, and nothing is left of it.
func TestTLSConfigFunctionThatDoesNotReturn(t *testing.T) {
	for how, tc := range map[string]struct {
		fail func()
		want error
	}{
		"panics":             {func() { panic("in a function of the config") }, netpoll.ErrPanic},
		"ends its goroutine": {runtime.Goexit, netpoll.ErrPanic},
		"takes too long":     {func() { <-time.After(2 * testkit.Short) }, netpoll.ErrReadTimeout},
	} {
		for name, set := range configFunctions {
			t.Run(name+"/"+strings.ReplaceAll(how, " ", "-"), func(t *testing.T) {
				overVersions(t, func(t *testing.T, config, client *tls.Config) {
					testkit.CaptureLog(t, netpoll.SetLoggerOutput)
					var calls atomic.Int64
					set(config, func() {
						if calls.Add(1) == 1 {
							tc.fail()
						}
					})
					closed := make(chan bool, 2)
					limit := time.Duration(0)
					if tc.want == netpoll.ErrReadTimeout {
						limit = testkit.Short
					}
					hook, failed := failures()
					server := testnet.NewServer(t, "tcp", testnet.Echo, hook, netpoll.WithTLSConfig(config),
						netpoll.WithTLSHandshakeLimit(1), netpoll.WithTLSHandshakeTimeout(limit),
						netpoll.WithOnPrepare(func(conn netpoll.Connection) context.Context {
							_ = conn.AddCloseCallback(func(netpoll.Connection) error { closed <- true; return nil })
							return context.Background()
						}))
					first := tls.Client(testkit.Dial(t, server.Addr()), client)
					if first.Handshake() == nil { // in TLS 1.3 the client may be done first
						_, err := first.Read(make([]byte, 1))
						require.Error(t, err)
					}
					require.ErrorIs(t, testkit.Receive(t, failed).err, tc.want)
					testkit.Receive(t, closed)
					testkit.Silent(t, 0, failed, "a second report")
					for range 10 { // on a busy machine the time limit may end one that is not to blame
						second := tls.Client(testkit.Dial(t, server.Addr()), client)
						if _, err := second.Write([]byte("hello")); err == nil {
							if _, err = second.Read(make([]byte, 5)); err == nil {
								return
							}
						}
						testkit.Receive(t, closed)
						require.ErrorIs(t, testkit.Receive(t, failed).err, netpoll.ErrReadTimeout)
					}
					t.Error("no handshake after that in time")
				})
			})
		}
	}
}

// A client's own functions end its handshake in the same way.
func TestTLSClientFunctionThatDoesNotReturn(t *testing.T) {
	for how, fail := range map[string]func(){
		"panics":             func() { panic("in a function of the config") },
		"ends its goroutine": runtime.Goexit,
	} {
		t.Run(strings.ReplaceAll(how, " ", "-"), func(t *testing.T) {
			overVersions(t, func(t *testing.T, config, client *tls.Config) {
				testkit.CaptureLog(t, netpoll.SetLoggerOutput)
				client.VerifyConnection = func(tls.ConnectionState) error { fail(); return nil }
				hook, _ := failures()
				server := testnet.NewServer(t, "tcp", testnet.Echo, hook, netpoll.WithTLSConfig(config))
				dialer := &netpoll.TLSDialer{Config: client}
				conn, err := dialer.Dial("tcp", server.Addr().String())
				require.ErrorIs(t, err, netpoll.ErrPanic)
				require.Nil(t, conn)
			})
		})
	}
}
