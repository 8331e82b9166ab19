// Package programs runs programs that know nothing of this library on its connections: the HTTP server and client of
// package net/http, fasthttp, grpc-go and go-redis. Each gets a listener, a dialer, or both from here, and has to find
// them as good as those of package net. The HTTP servers, and one of Hertz beside them, are also asked by curl and wrk,
// which must be installed. It is a module of its own and has only tests:
//
//	go test ./...
//
// The script against-reference runs each test by itself with the original library, v0.7.3, in place of this one, and
// prints which of them pass there. See its first lines.
package programs
