package testkit

// This file holds a client of TLS 1.3 whose records a test makes: of any kind and size, which package crypto/tls would
// not send.

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"net"
	"sync"
	"testing"
)

// The content types of records.
const (
	RecordAlert       = 21
	RecordHandshake   = 22
	RecordApplication = 23
)

// KeyUpdate is the handshake message of that name; requested says that the peer has to answer with its own.
func KeyUpdate(requested bool) []byte {
	p := []byte{24, 0, 0, 1, 0}
	if requested {
		p[4] = 1
	}
	return p
}

// RecordClient is a client after its handshake. Only Seal may make records from then on; the Conn below reads.
type RecordClient struct {
	*tls.Conn
	Raw net.Conn // what carries the session

	secret []byte
	aead   cipher.AEAD
	iv     []byte
	seq    uint64
}

// NewRecordClient does the handshake of a client over raw. config is not changed.
func NewRecordClient(t testing.TB, raw net.Conn, config *tls.Config) *RecordClient {
	t.Helper()
	log := new(keyLog)
	config = config.Clone()
	config.MinVersion, config.MaxVersion = tls.VersionTLS13, tls.VersionTLS13
	config.KeyLogWriter = log
	c := &RecordClient{Conn: tls.Client(raw, config), Raw: raw}
	if err := c.Handshake(); err != nil {
		t.Fatalf("handshake: %v", err)
	}
	if suite := c.ConnectionState().CipherSuite; suite != tls.TLS_AES_128_GCM_SHA256 {
		t.Fatalf("cipher suite %s", tls.CipherSuiteName(suite))
	}
	c.rekey(log.secret("CLIENT_TRAFFIC_SECRET_0"))
	return c
}

// Seal returns a record. A KeyUpdate changes the key of the records after it.
func (c *RecordClient) Seal(kind byte, content []byte) []byte {
	inner := append(bytes.Clone(content), kind)
	header := []byte{RecordApplication, 3, 3, 0, 0}
	binary.BigEndian.PutUint16(header[3:], uint16(len(inner)+c.aead.Overhead()))
	nonce := bytes.Clone(c.iv)
	for i := range 8 {
		nonce[len(nonce)-1-i] ^= byte(c.seq >> (8 * i))
	}
	c.seq++
	record := c.aead.Seal(header, nonce, inner, header)
	if kind == RecordHandshake && len(content) > 0 && content[0] == 24 {
		c.rekey(expandLabel(c.secret, "traffic upd", sha256.Size))
	}
	return record
}

// SendRecord sends a record.
func (c *RecordClient) SendRecord(t testing.TB, kind byte, content []byte) {
	t.Helper()
	if _, err := c.Raw.Write(c.Seal(kind, content)); err != nil {
		t.Fatalf("send: %v", err)
	}
}

func (c *RecordClient) rekey(secret []byte) {
	block, err := aes.NewCipher(expandLabel(secret, "key", 16))
	if err == nil {
		c.aead, err = cipher.NewGCM(block)
	}
	if err != nil {
		panic(err)
	}
	c.secret, c.iv, c.seq = secret, expandLabel(secret, "iv", 12), 0
}

// expandLabel is HKDF-Expand-Label of RFC 8446 without a context.
func expandLabel(secret []byte, label string, length int) []byte {
	label = "tls13 " + label
	info := []byte{byte(length >> 8), byte(length), byte(len(label))}
	info = append(append(info, label...), 0)
	key, err := hkdf.Expand(sha256.New, secret, string(info), length)
	if err != nil {
		panic(err)
	}
	return key
}

// keyLog has the secrets of one session.
type keyLog struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (l *keyLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *keyLog) secret(label string) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range bytes.Lines(l.text.Bytes()) {
		if fields := bytes.Fields(line); len(fields) == 3 && string(fields[0]) == label {
			secret, _ := hex.DecodeString(string(fields[2]))
			return secret
		}
	}
	panic("no secret " + label)
}
