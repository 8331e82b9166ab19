// Package ringtest tests rings, which execute batches of socket operations: internal/uring and internal/aio run the
// same suite. It imports neither, since their tests are inside of them.
package ringtest
