module github.com/cloudwego/netpoll/examples/websocket

go 1.26.0

require (
	github.com/cloudwego/netpoll v0.7.3
	github.com/gobwas/ws v1.4.0
	github.com/stretchr/testify v1.12.1
)

require (
	github.com/bytedance/gopkg v0.1.4 // indirect
	github.com/gobwas/httphead v0.1.0 // indirect
	github.com/gobwas/pool v0.2.1 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	golang.org/x/sys v0.49.0 // indirect
)

replace github.com/cloudwego/netpoll => ../..
