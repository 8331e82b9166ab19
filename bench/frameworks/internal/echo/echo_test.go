package echo

import "testing"

func TestStringsComeBackOutOfTheirStruct(t *testing.T) {
	p := make([]byte, Size(5))
	copy(Put(p, Argument), "hello")
	if s, err := Get(p); err != nil || string(s) != "hello" {
		t.Fatal(string(s), err)
	}
	for _, bad := range [][]byte{nil, p[:3], p[:len(p)-1], append(p, 0), make([]byte, len(p))} {
		if _, err := Get(bad); err == nil {
			t.Errorf("%v is taken", bad)
		}
	}
}
