// Package programs runs programs of other authors on the library's connections. Each gets a listener, a dialer, or both
// of the library, which have to work as well as those of package net. It is a module of its own and has only tests:
//
//	go test ./...
//
// Servers and clients, with the library on either side and on both: net/http, fasthttp, grpc-go, and go-redis with a
// small server on an EventLoop. The tests also send requests with curl and wrk to the HTTP servers and to one of Hertz.
// With TLS of the library, openssl, gnutls-cli and h2load judge, too. These programs must be installed.
//
// Programs that take any net.Conn or net.Listener, each in two subtests. "netpoll" is on the library; "net" is the
// control, on package net. Both have to pass:
//
//   - what the standard library writes to an io.Writer and reads from an io.Reader (stdlib_write_test.go,
//     stdlib_read_test.go), net/smtp, net/rpc, http.Transport through a proxy with CONNECT;
//   - gorilla/websocket, golang.org/x/crypto/ssh, hashicorp/yamux;
//   - io.Copy proxies and http.FileServer (copy_test.go);
//   - pires/go-proxyproto, whose connections wait for their client in RemoteAddr and LocalAddr. Its listener is also
//     tried below an EventLoop, around a listener of package net and around one of the library, without a control;
//   - the check of an idle connection that drivers of MySQL and Redis make (liveness_test.go);
//   - cloudflare/tableflip, which hands the listening socket to another process.
//
// handler_end_test.go has servers on an EventLoop. Their handlers find out that the client has closed in the ways that
// programs on the original use.
//
// Files that begin with tls have the library's TLS below the same programs, and only it: they are not built with the
// tag original.
//
// The folder datagrams has programs on UDP sockets: quic-go, miekg/dns, wireguard-go. The command quicecho is an example
// with quic-go.
//
// The script against-reference runs each test by itself with the original library, v0.7.3, in place of this one, and
// prints which of them pass there. See its first lines.
package programs
