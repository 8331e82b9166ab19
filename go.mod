module github.com/cloudwego/netpoll

go 1.26.0

require (
	github.com/bytedance/gopkg v0.1.4
	github.com/stretchr/testify v1.12.1
	go.uber.org/goleak v1.3.0
	golang.org/x/net v0.62.0
	golang.org/x/sys v0.49.0
)

require go.yaml.in/yaml/v3 v3.0.5 // indirect
