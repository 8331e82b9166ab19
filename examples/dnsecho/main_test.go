package main

import (
	"bytes"
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestServerTellsWhoAsks(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var out strings.Builder
	if err := run(ctx, &out); err != nil {
		t.Fatal(err)
	}
	if want := "who.am.i. 127.0.0.1\nwhere.am.i. 127.0.0.1\n"; out.String() != want {
		t.Errorf("it printed %q, want %q", out.String(), want)
	}
}

var query = []byte("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03who\x02am\x01i\x00\x00\x01\x00\x01")

func TestReplyIsTheOneOfRFC1035(t *testing.T) {
	change := func(at int, to byte) []byte {
		p := bytes.Clone(query)
		p[at] = to
		return p
	}
	from4, from6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	answered := "\x12\x34\x85\x00\x00\x01\x00\x01\x00\x00\x00\x00\x03who\x02am\x01i\x00\x00\x01\x00\x01" +
		"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x00\x00\x04\xc0\x00\x02\x01"
	empty := "\x12\x34\x85\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03who\x02am\x01i\x00\x00\x01\x00\x01"
	malformed := "\x12\x34\x85\x01\x00\x00\x00\x00\x00\x00\x00\x00"
	for name, c := range map[string]struct {
		query []byte
		from  netip.Addr
		want  string // "" for none
	}{
		"asked":             {query, from4, answered},
		"with more behind":  {append(bytes.Clone(query), 0, 0, 41), from4, answered},
		"of another family": {query, from6, empty},
		"a response":        {change(2, 0x81), from4, ""},
		"an update":         {change(2, 5<<3), from4, "\x12\x34\xac\x04\x00\x00\x00\x00\x00\x00\x00\x00"},
		"no question":       {change(5, 0), from4, malformed},
		"a name too long":   {change(12, 63), from4, malformed},
		"a pointer":         {change(12, 0xc0), from4, malformed},
		"cut off":           {query[:len(query)-1], from4, malformed},
		"a header alone":    {query[:12], from4, malformed},
		"less":              {query[:11], from4, ""},
		"nothing":           {nil, from4, ""},
	} {
		reply, ok := replyTo(bytes.Clone(c.query), c.from)
		if string(reply) != c.want || ok != (c.want != "") {
			t.Errorf("%s: the reply is %q, %v, want %q", name, reply, ok, c.want)
		}
	}
}
