// Package ringtest tests what executes batches of socket operations, whatever that is: internal/uring and internal/aio
// run the same suite. It knows neither, since their tests are inside of them.
package ringtest
