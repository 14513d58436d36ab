package blob

import (
	"bytes"
	"errors"
	"os"
	"testing"
)

func TestPayloadComesBackByItsContent(t *testing.T) {
	f := NewFolder(t.TempDir(), 1<<20)
	want := bytes.Repeat([]byte("sira"), 100_000)
	ref, err := f.Put(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	again, err := f.Put(t.Context(), want)
	if err != nil || again != ref {
		t.Fatalf("second Put = %q, %v; want %q", again, err, ref)
	}
	got, err := f.Get(t.Context(), ref)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("Get = %d bytes, %v; want %d bytes", len(got), err, len(want))
	}
}

func TestReferenceCannotLeaveTheFolder(t *testing.T) {
	f := NewFolder(t.TempDir(), 1<<20)
	for _, ref := range []string{"", "sha256:", "sha256:../../etc/passwd", "file:///etc/passwd", "sha256:zz", "sha256:" + string(bytes.Repeat([]byte("A"), 64))} {
		if _, err := f.Get(t.Context(), ref); !errors.Is(err, ErrBadReference) {
			t.Errorf("Get(%q) = %v, want ErrBadReference", ref, err)
		}
	}
}

func TestChangedPayloadIsRefused(t *testing.T) {
	f := NewFolder(t.TempDir(), 1<<20)
	ref, err := f.Put(t.Context(), []byte("one"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(f.path(ref[len(scheme):]), []byte("two"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Get(t.Context(), ref); !errors.Is(err, ErrBadReference) {
		t.Errorf("Get = %v, want ErrBadReference", err)
	}
}

func TestMissingPayloadIsToldFromABadReference(t *testing.T) {
	f := NewFolder(t.TempDir(), 1<<20)
	ref := scheme + "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	if _, err := f.Get(t.Context(), ref); !errors.Is(err, ErrNotFound) {
		t.Errorf("Get = %v, want ErrNotFound", err)
	}
}

func TestSizeIsKnownBeforeAPayloadIsRead(t *testing.T) {
	f := NewFolder(t.TempDir(), 100)
	small, err := f.Put(t.Context(), make([]byte, 100))
	if err != nil {
		t.Fatal(err)
	}
	large, err := f.Put(t.Context(), make([]byte, 101))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := f.Size(t.Context(), small); n != 100 || err != nil {
		t.Errorf("size %d, %v", n, err)
	}
	for what, get := range map[string]func() error{
		"Size": func() error { _, err := f.Size(t.Context(), large); return err },
		"Get":  func() error { _, err := f.Get(t.Context(), large); return err },
	} {
		if err := get(); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s of a payload above the limit: %v", what, err)
		}
	}
}
