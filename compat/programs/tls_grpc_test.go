//go:build !original

package programs

// grpc-go over the library's TLS: below it, where gRPC sees none, and as credentials of gRPC, which make a connection of
// the library a TLS connection in place.

import (
	"context"
	"crypto/tls"
	"net"
	"sync/atomic"
	"testing"

	"github.com/cloudwego/netpoll"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

func init() {
	securities = append(securities, security{"TLS-below", tlsBelow}, security{"own-credentials", ownCredentials})
}

func tlsBelow(t *testing.T, _ *rpc, on *sides) (server, client credentials.TransportCredentials) {
	on.layer = newTLSLayer(t)
	return insecure.NewCredentials(), insecure.NewCredentials()
}

func ownCredentials(t *testing.T, s *rpc, on *sides) (server, client credentials.TransportCredentials) {
	layer := newTLSLayer(t, "h2")
	server, client = credentials.NewTLS(layer.server), credentials.NewTLS(layer.client)
	if on.server {
		server = &netpollCredentials{TransportCredentials: server, config: layer.server}
	}
	if on.client {
		client = &netpollCredentials{TransportCredentials: client, config: layer.client, last: &s.last}
	}
	return server, client
}

// netpollCredentials are credentials for connections of the library. What is not a handshake is gRPC's.
type netpollCredentials struct {
	credentials.TransportCredentials
	config *tls.Config
	last   *atomic.Pointer[net.Conn] // gets the sessions of a client, in place of the connections that were dialed
}

func (c *netpollCredentials) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	session, err := netpoll.TLSServer(conn.(netpoll.Connection), c.config)
	return shaken(context.Background(), session, err) // gRPC has set a deadline
}

func (c *netpollCredentials) ClientHandshake(
	ctx context.Context, _ string, conn net.Conn,
) (net.Conn, credentials.AuthInfo, error) {
	session, err := netpoll.TLSClient(conn.(netpoll.Connection), c.config)
	if err == nil {
		var conn net.Conn = session
		c.last.Store(&conn)
	}
	return shaken(ctx, session, err)
}

func (c *netpollCredentials) Clone() credentials.TransportCredentials {
	return &netpollCredentials{c.TransportCredentials.Clone(), c.config, c.last}
}

// shaken returns session after its handshake.
func shaken(ctx context.Context, session *netpoll.TLSConnection, err error) (net.Conn, credentials.AuthInfo, error) {
	if err != nil {
		return nil, nil, err
	}
	if err := session.HandshakeContext(ctx); err != nil {
		_ = session.Close()
		return nil, nil, err
	}
	return session, credentials.TLSInfo{
		State:          session.ConnectionState(),
		CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity},
	}, nil
}

// token is what gRPC sends only where the connection is secure.
type token string

func (t token) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": string(t)}, nil
}

func (t token) RequireTransportSecurity() bool { return true }

func TestGRPCTakesSessionsOfTheLibraryForSecure(t *testing.T) {
	overSides(t, func(t *testing.T, on sides) {
		s := startRPC(t, on, security{"", ownCredentials})
		var p peer.Peer
		_, err := s.client.UnaryCall(timeLimit(t), new(pb.SimpleRequest), grpc.Peer(&p), grpc.PerRPCCredentials(token("secret")))
		require.NoError(t, err)
		info, ok := p.AuthInfo.(credentials.TLSInfo)
		require.True(t, ok, "%T", p.AuthInfo)
		require.Equal(t, "h2", info.State.NegotiatedProtocol)
		require.Equal(t, s.addr, p.Addr.String())
	})
}

func TestGRPCCallFailsWhereTheServerIsNotTrusted(t *testing.T) {
	overSides(t, func(t *testing.T, on sides) {
		s := startRPC(t, on, security{"", func(
			t *testing.T, s *rpc, on *sides,
		) (server, client credentials.TransportCredentials) {
			server, _ = ownCredentials(t, s, on)
			_, client = ownCredentials(t, s, on) // of another authority
			return server, client
		}})
		err := s.echo(timeLimit(t), nil, grpc.WaitForReady(false))
		require.Equal(t, codes.Unavailable, status.Code(err))
		require.ErrorContains(t, err, "certificate")
	})
}
