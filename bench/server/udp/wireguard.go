package main

// This file holds the server over the socket of wireguard-go. It is the one that its tunnels have on Linux: it receives
// and sends in batches, with segmentation where the kernel has it, and asks for a buffer of 7 MiB. It listens on every
// address of the machine.

import (
	"fmt"
	"net"
	"strconv"

	"golang.zx2c4.com/wireguard/conn"
)

func overWireguard() (string, error) {
	bind := conn.NewStdNetBind()
	receivers, port, err := bind.Open(0)
	if err != nil {
		return "", err
	}
	for _, receive := range receivers {
		go receiveFor(bind, receive)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))), nil
}

func receiveFor(bind conn.Bind, receive conn.ReceiveFunc) {
	n := bind.BatchSize()
	packets, sizes, ends := make([][]byte, n), make([]int, n), make([]conn.Endpoint, n)
	for i := range packets {
		packets[i] = make([]byte, 64<<10)
	}
	var one [1][]byte
	for {
		k, err := receive(packets, sizes, ends)
		if err != nil {
			panic(fmt.Sprint("receive: ", err))
		}
		for i := range k {
			if out := answer(packets[i][:sizes[i]]); out != nil {
				one[0] = out // Send takes packets for one peer
				_ = bind.Send(one[:], ends[i])
			}
		}
	}
}
