// Package programs runs programs that nobody here wrote on the library's connections. Each gets a listener, a dialer, or
// both from here, and has to find them as good as those of package net. It is a module of its own and has only tests:
//
//	go test ./...
//
// Servers and clients, with the library on either side and on both: net/http, fasthttp, grpc-go, and go-redis with a
// small server on an EventLoop. The HTTP servers, and one of Hertz beside them, are also asked by curl and wrk, which
// must be installed.
//
// Programs that take any net.Conn or net.Listener, each in two subtests: "net" is the control, on package net, and has
// to pass as "netpoll" has:
//
//   - what the standard library writes to an io.Writer and reads from an io.Reader (stdlib_write_test.go,
//     stdlib_read_test.go), net/smtp, net/rpc, http.Transport through a proxy with CONNECT;
//   - gorilla/websocket, golang.org/x/crypto/ssh, hashicorp/yamux;
//   - io.Copy proxies and http.FileServer (copy_test.go);
//   - pires/go-proxyproto, whose connections wait for their client when they are asked for its address. Below an
//     EventLoop, where there is no control, both wrap one of either library;
//   - the look at an idle connection that drivers of MySQL and Redis take (liveness_test.go);
//   - cloudflare/tableflip, which hands the listening socket to another process.
//
// handler_end_test.go has servers on an EventLoop whose handlers learn of the end of their client as users of the
// original have them do.
//
// The script against-reference runs each test by itself with the original library, v0.7.3, in place of this one, and
// prints which of them pass there. See its first lines.
package programs
