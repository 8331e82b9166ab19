module github.com/cloudwego/netpoll/bench

go 1.26.0

require (
	github.com/HdrHistogram/hdrhistogram-go v1.2.0
	github.com/bytedance/gopkg v0.1.4
	github.com/cloudwego/netpoll v0.7.3
	golang.org/x/sys v0.49.0
)

require github.com/cloudwego/gopkg v0.1.4 // indirect
