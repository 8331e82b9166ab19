module github.com/cloudwego/netpoll/reliability

go 1.26.0

require (
	github.com/cloudwego/netpoll v0.7.3
	github.com/stretchr/testify v1.12.1
	golang.org/x/sys v0.49.0
)

require (
	github.com/bytedance/gopkg v0.1.4 // indirect
	go.uber.org/goleak v1.3.0 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
)

replace github.com/cloudwego/netpoll => ../
