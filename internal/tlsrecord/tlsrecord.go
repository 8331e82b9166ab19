// Package tlsrecord lends memory to a [tls.Conn], so that an idle one holds none. Package crypto/tls reads records into
// a buffer of its own, which grows to 17 KiB with the first large record and stays for the life of the connection. Here
// the records that were received are made that buffer while they are decrypted, in place, and taken away after it.
//
// The buffer is in a field that is not exported. [Lends] says whether the fields are what this package expects, by name
// and type. If they are not nothing may be lent: a tls.Conn then reads into its own buffer, which costs memory and a
// copy, and works.
package tlsrecord

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"reflect"
	"unsafe"
)

// Lends reports whether records can be lent to the tls.Conn of this Go release. Tests set it to false.
var Lends = Check() == nil

// The fields, if Lends is set.
var (
	rawOffset   = offsetOf("rawInput")
	inputOffset = offsetOf("input")
	handOffset  = offsetOf("hand")
)

// expected are the fields of tls.Conn that this package uses: the ciphertext that was read, the plaintext of the last
// record, which is in the memory of the first, and handshake messages that are not complete.
var expected = map[string]reflect.Type{
	"rawInput": reflect.TypeFor[bytes.Buffer](),
	"input":    reflect.TypeFor[bytes.Reader](),
	"hand":     reflect.TypeFor[bytes.Buffer](),
}

// Check returns what keeps this package from lending, or nil.
func Check() error {
	for name, want := range expected {
		field, ok := reflect.TypeFor[tls.Conn]().FieldByName(name)
		if !ok {
			return fmt.Errorf("crypto/tls has changed: tls.Conn has no field %s", name)
		}
		if field.Type != want {
			return fmt.Errorf("crypto/tls has changed: the field %s of tls.Conn is a %v, not a %v", name, field.Type, want)
		}
	}
	return nil
}

func offsetOf(name string) uintptr {
	field, _ := reflect.TypeFor[tls.Conn]().FieldByName(name)
	return field.Offset
}

func raw(c *tls.Conn) *bytes.Buffer { return (*bytes.Buffer)(unsafe.Add(unsafe.Pointer(c), rawOffset)) }

func input(c *tls.Conn) *bytes.Reader {
	return (*bytes.Reader)(unsafe.Add(unsafe.Pointer(c), inputOffset))
}

func hand(c *tls.Conn) *bytes.Buffer {
	return (*bytes.Buffer)(unsafe.Add(unsafe.Pointer(c), handOffset))
}

// Left is how much c has that it has not given to Read: ciphertext, and decrypted plaintext. No goroutine may be in a
// Read of c, here and in the other functions. Lends must be set.
func Left(c *tls.Conn) int { return raw(c).Len() + input(c).Len() }

// Lend makes records the ciphertext that c has read and not decrypted. There must be nothing Left. c overwrites records
// with their plaintext, and never appends to it.
func Lend(c *tls.Conn, records []byte) {
	*raw(c) = *bytes.NewBuffer(records[:len(records):len(records)])
}

// TakeBack makes c forget the memory that was lent, and its own buffers if they are empty. It returns false if c has
// not used up what it was lent: then c keeps the memory.
func TakeBack(c *tls.Conn) bool {
	if Left(c) > 0 {
		return false
	}
	*raw(c) = bytes.Buffer{}
	input(c).Reset(nil)
	if h := hand(c); h.Len() == 0 {
		*h = bytes.Buffer{}
	}
	return true
}
