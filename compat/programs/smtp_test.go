package programs

// net/smtp: a protocol of lines, with package net/textproto on both sides.

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/smtp"
	"net/textproto"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// serveMail serves one connection of a mail server. It delivers each message on messages.
func serveMail(conn net.Conn, messages chan<- string) error {
	c := textproto.NewConn(conn)
	if err := c.PrintfLine("220 ready"); err != nil {
		return err
	}
	for {
		line, err := c.ReadLine()
		if err != nil {
			return err
		}
		verb, _, _ := strings.Cut(line, " ")
		switch verb {
		case "DATA":
			if err := c.PrintfLine("354 go on"); err != nil {
				return err
			}
			message, err := io.ReadAll(c.DotReader())
			if err != nil {
				return err
			}
			messages <- string(message)
		case "QUIT":
			return c.PrintfLine("221 bye")
		}
		if err := c.PrintfLine("250 OK"); err != nil {
			return err
		}
	}
}

func TestMailIsSent(t *testing.T) {
	againstNet(t, func(t *testing.T, on sides) {
		messages, ends := make(chan string, 8), make(chan error, 1)
		address := on.serveEach(t, func(conn net.Conn) { ends <- serveMail(conn, messages) })
		conn, err := on.dialBounded(timeLimit(t), address)
		require.NoError(t, err)
		c, err := smtp.NewClient(conn, "localhost")
		require.NoError(t, err)
		defer c.Close()
		for i := range 3 {
			var message strings.Builder
			for line := range 1 + 200*i {
				fmt.Fprintf(&message, ".line %d of message %d\n", line, i)
			}
			require.NoError(t, c.Mail("from@example.com"))
			require.NoError(t, c.Rcpt("to@example.com"))
			w, err := c.Data()
			require.NoError(t, err)
			b := bufio.NewWriter(w)
			_, err = b.WriteString(message.String())
			require.NoError(t, err)
			require.NoError(t, b.Flush())
			require.NoError(t, w.Close())
			require.Equal(t, message.String(), await(t, messages, "the message"))
		}
		require.NoError(t, c.Quit())
		require.NoError(t, await(t, ends, "the end of the conversation"))
	})
}
