package github

import (
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// ParseKey reads an App's private key: PEM holding PKCS#1 or PKCS#8, with line
// ends written literally as \n if it came through a variable.
func ParseKey(text string) (*rsa.PrivateKey, error) {
	block, _ := pem.Decode([]byte(strings.ReplaceAll(text, `\n`, "\n")))
	if block == nil {
		return nil, errors.New("private key: want PEM")
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("private key: want an RSA key as PKCS#1 or PKCS#8")
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("private key: want RSA, have %T", parsed)
	}
	return key, nil
}

const keyLimitBytes = 64 << 10

// LoadKey reads an App's private key from a file. It refuses a file that others
// may read unless shared is set, as for a mounted Kubernetes Secret.
func LoadKey(file string, shared bool) (*rsa.PrivateKey, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("reading private key: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("reading private key: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 && !shared {
		return nil, fmt.Errorf("private key %s has mode %04o: want 0600, readable by its owner alone", file, mode)
	}
	text, err := io.ReadAll(io.LimitReader(f, keyLimitBytes))
	if err != nil {
		return nil, fmt.Errorf("reading private key: %w", err)
	}
	key, err := ParseKey(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return key, nil
}

// Fingerprint is how GitHub shows a key on the App's page, so that a person can
// see which one is in use.
func Fingerprint(key *rsa.PrivateKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return "", fmt.Errorf("encoding public key: %w", err)
	}
	sum := sha256.Sum256(der)
	return "SHA256:" + base64.StdEncoding.EncodeToString(sum[:]), nil
}
