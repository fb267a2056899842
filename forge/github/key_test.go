package github

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestKey(t *testing.T) {
	pkcs1 := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(testKey)})
	der, err := x509.MarshalPKCS8PrivateKey(testKey)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8 := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	for name, text := range map[string]string{
		"PKCS#1": string(pkcs1), "PKCS#8": string(pkcs8), "literal line ends": strings.ReplaceAll(string(pkcs1), "\n", `\n`),
	} {
		if key, err := ParseKey(text); err != nil || !key.Equal(testKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ParseKey("nonsense"); err == nil {
		t.Error("nonsense is a key")
	}
	file := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(file, pkcs1, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadKey(file, false); err == nil || !strings.Contains(err.Error(), "0600") {
		t.Errorf("a key that all can read: got %v", err)
	}
	if _, err := LoadKey(file, true); err != nil {
		t.Error(err)
	}
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadKey(file, false); err != nil {
		t.Error(err)
	}
}
