// Package ringtest tests rings, which execute batches of socket operations: internal/uring and internal/aio run the
// same suite. It imports neither, because their tests, which import it, are in the same packages.
package ringtest
