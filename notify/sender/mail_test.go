package sender

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/slipway-ci/slipway/notify"
)

// postOffice is a mail server that keeps what it gets. It refuses "nobody" for
// good and "full" for now.
type postOffice struct {
	password string // of ci; empty: nobody signs in

	mu    sync.Mutex
	mails []received
}

type received struct {
	from string
	to   []string
	tls  bool
	user string
	text []byte
}

func (o *postOffice) NewSession(c *smtp.Conn) (smtp.Session, error) {
	_, secure := c.TLSConnectionState()
	return &counter{office: o, mail: received{tls: secure}}, nil
}

func (o *postOffice) all() []received {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.mails
}

// counter serves one client.
type counter struct {
	office *postOffice
	mail   received
}

func (c *counter) AuthMechanisms() []string {
	if c.office.password == "" {
		return nil
	}
	return []string{sasl.Plain}
}

func (c *counter) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != "ci" || password != c.office.password {
			return smtp.ErrAuthFailed
		}
		c.mail.user = user
		return nil
	}), nil
}

func (c *counter) Mail(from string, _ *smtp.MailOptions) error {
	if c.office.password != "" && c.mail.user == "" {
		return smtp.ErrAuthRequired
	}
	c.mail.from, c.mail.to = from, nil
	return nil
}

func (c *counter) Rcpt(to string, _ *smtp.RcptOptions) error {
	switch name, _, _ := strings.Cut(to, "@"); name {
	case "nobody":
		return &smtp.SMTPError{Code: 550, Message: "no such mailbox, s3cret"}
	case "full":
		return &smtp.SMTPError{Code: 452, Message: "the mailbox is full"}
	}
	c.mail.to = append(c.mail.to, to)
	return nil
}

func (c *counter) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	c.mail.text = text
	c.office.mu.Lock()
	defer c.office.mu.Unlock()
	c.office.mails = append(c.office.mails, c.mail)
	return nil
}

func (c *counter) Reset()        {}
func (c *counter) Logout() error { return nil }

// certificate is a server's, for 127.0.0.1, and who vouches for it.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mail"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, form, form, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

// openOffice serves o on loopback, with TLS as the mode says, and returns what
// reaches it.
func openOffice(t *testing.T, o *postOffice, mode string) MailOptions {
	t.Helper()
	cert, roots := certificate(t)
	s := smtp.NewServer(o)
	s.Domain, s.ReadTimeout, s.WriteTimeout = "mail", time.Minute, time.Minute
	s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	switch mode {
	case TLS:
		l = tls.NewListener(l, s.TLSConfig)
	case NoTLS:
		s.TLSConfig = nil
	}
	var done sync.WaitGroup
	done.Go(func() { _ = s.Serve(l) })
	t.Cleanup(func() { _ = s.Close(); done.Wait() })
	options := MailOptions{
		Server: address, TLS: mode, Roots: roots, From: "Slipway <ci@example.com>", To: []string{"Ann <ann@example.com>", "ops@example.com"},
		Source: "https://ci.example.com:8443",
	}
	if o.password != "" {
		options.User, options.Password = "ci", o.password
	}
	return options
}

func sendMail(t *testing.T, o MailOptions, m notify.Message) error {
	t.Helper()
	s, err := NewMail(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err = s.Send(ctx, m, "")
	return err
}

func TestMail(t *testing.T) {
	for _, tt := range []struct {
		mode, password string
	}{{StartTLS, "s3cret"}, {TLS, "s3cret"}, {StartTLS, ""}, {NoTLS, ""}} {
		t.Run(tt.mode+tt.password, func(t *testing.T) {
			office := &postOffice{password: tt.password}
			o := openOffice(t, office, tt.mode)
			for range 2 {
				if err := sendMail(t, o, failed()); err != nil {
					t.Fatal(err)
				}
			}
			mails := office.all()
			if len(mails) != 2 {
				t.Fatalf("got %d mails", len(mails))
			}
			got := mails[0]
			if got.from != "ci@example.com" || strings.Join(got.to, " ") != "ann@example.com ops@example.com" || got.tls != (tt.mode != NoTLS) {
				t.Errorf("got %+v", got)
			}
			if !bytes.Equal(got.text, mails[1].text) {
				t.Error("a repeat differs")
			}
			read, err := mail.ReadMessage(bytes.NewReader(got.text))
			if err != nil {
				t.Fatal(err)
			}
			subject, err := new(mime.WordDecoder).DecodeHeader(read.Header.Get("Subject"))
			if err != nil || subject != failed().Title() {
				t.Errorf("subject %q, %v", subject, err)
			}
			for name, want := range map[string]string{
				"From": `"Slipway" <ci@example.com>`, "To": `"Ann" <ann@example.com>, <ops@example.com>`, "Auto-Submitted": "auto-generated",
				"Message-Id": "<" + failed().ID + "@ci.example.com>", "References": "<x1@ci.example.com>", "Date": "Sun, 01 Mar 2026 12:04:31 +0000",
			} {
				if h := read.Header.Get(name); h != want {
					t.Errorf("%s: got %q, want %q", name, h, want)
				}
			}
			body, err := io.ReadAll(quotedprintable.NewReader(read.Body))
			if err != nil {
				t.Fatal(err)
			}
			const want = "[FAILED] web #128 · Build/unit\nocto/web · main · abc1234 · by ann · 4m31s\nTry <!channel> & more\n\n" +
				"go test ./... exited with code 1\n\n    --- FAIL: TestSum\n    ```\n    FAIL\n\nhttps://ci.example.com/executions/x1\n"
			if text := strings.ReplaceAll(string(body), "\r\n", "\n"); text != want {
				t.Errorf("got %q, want %q", text, want)
			}
		})
	}
}

// What others write adds no header, no recipient and no line of the protocol.
//
// Attacks: 41.
func TestMailOfAStranger(t *testing.T) {
	office := &postOffice{}
	o := openOffice(t, office, StartTLS)
	m := failed()
	m.Pipeline = "x\r\nBcc: mallory@example.com\r\n\r\nhello"
	m.Culprit, m.Author, m.Execution = "a\nTo: mallory@example.com", "mal\r\nX-A: b\x1b[2J", "x>\r\nX-B: c"
	m.Problem = "first\r\n.\r\nMAIL FROM:<mallory@example.com>\r\nRCPT TO:<mallory@example.com>\r\n.."
	if err := sendMail(t, o, m); err != nil {
		t.Fatal(err)
	}
	mails := office.all()
	if len(mails) != 1 || len(mails[0].to) != 2 {
		t.Fatalf("got %+v", mails)
	}
	read, err := mail.ReadMessage(bytes.NewReader(mails[0].text))
	if err != nil {
		t.Fatal(err)
	}
	if len(read.Header) != 11 || read.Header.Get("Bcc")+read.Header.Get("X-A")+read.Header.Get("X-B") != "" {
		t.Errorf("headers %v", read.Header)
	}
	body, err := io.ReadAll(quotedprintable.NewReader(read.Body))
	if err != nil || !strings.Contains(string(body), "\r\n.\r\nMAIL FROM") || strings.Contains(string(body), "\x1b") {
		t.Errorf("got %q, %v", body, err)
	}
}

func TestMailRefused(t *testing.T) {
	with := func(mode string, office *postOffice, change func(*MailOptions)) error {
		o := openOffice(t, office, mode)
		change(&o)
		return sendMail(t, o, failed())
	}
	tests := []struct {
		name  string
		err   error
		again bool
		want  string
	}{
		{"a mailbox that isn't there", with(StartTLS, &postOffice{}, func(o *MailOptions) { o.To[1] = "nobody@example.com" }), false, "naming recipient 2 of 2: the server answers 550"},
		{"a mailbox that is full", with(StartTLS, &postOffice{}, func(o *MailOptions) { o.To[0] = "full@example.com" }), true, "the server answers 452"},
		{"a wrong password", with(StartTLS, &postOffice{password: "s3cret"}, func(o *MailOptions) { o.Password = "s3cret-wrong" }), false, "signing in: the server answers 535"},
		{"no password", with(StartTLS, &postOffice{password: "s3cret"}, func(o *MailOptions) { o.User, o.Password = "", "" }), false, "the server answers 502"},
		{"a server without STARTTLS", with(NoTLS, &postOffice{}, func(o *MailOptions) { o.TLS = StartTLS }), false, "doesn't offer STARTTLS"},
		{"a server that nobody vouches for", with(StartTLS, &postOffice{}, func(o *MailOptions) { o.Roots = x509.NewCertPool() }), false, "certificate"},
		{"a server of another name", with(TLS, &postOffice{}, func(o *MailOptions) { o.Server = strings.Replace(o.Server, "127.0.0.1", "localhost", 1) }), false, "certificate"},
		{"nobody there", with(StartTLS, &postOffice{}, func(o *MailOptions) { o.Server = "127.0.0.1:1" }), true, "connecting"},
		{"a link-local server", with(StartTLS, &postOffice{}, func(o *MailOptions) { o.Server = "169.254.169.254:25" }), false, "out of bounds"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.err == nil || retries(tt.err) != tt.again || errors.Is(tt.err, notify.ErrRefused) == tt.again {
				t.Fatalf("got %v, want one that may be tried again: %t", tt.err, tt.again)
			}
			if !strings.Contains(tt.err.Error(), tt.want) || strings.Contains(tt.err.Error(), "s3cret") {
				t.Errorf("got %q, want %q", tt.err, tt.want)
			}
		})
	}
}

// A server that says nothing is given up in time.
func TestMailServerIsSilent(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s, err := NewMail(MailOptions{Server: l.Addr().String(), From: "a@example.com", To: []string{"b@example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Send(ctx, failed(), ""); !retries(err) || !strings.Contains(err.Error(), "no answer in time") {
		t.Errorf("got %v", err)
	}
}

func TestMailOptions(t *testing.T) {
	good := MailOptions{Server: "mail.example.com:587", From: "a@example.com", To: []string{"b@example.com"}}
	for want, change := range map[string]func(*MailOptions){
		"":       func(*MailOptions) {},
		"server": func(o *MailOptions) { o.Server = "mail.example.com" },
		"tls":    func(o *MailOptions) { o.TLS = "ssl" },
		"user":   func(o *MailOptions) { o.Password = "x" },
		"from":   func(o *MailOptions) { o.From = "a@example.com\r\nBcc: c@example.com" },
		"to":     func(o *MailOptions) { o.To = nil },
		"to:":    func(o *MailOptions) { o.To = []string{"b@example.com, c@example.com"} },
		"to: ":   func(o *MailOptions) { o.To = []string{"bø@example.com"} },
		"tls: a": func(o *MailOptions) { o.TLS, o.User, o.Password = NoTLS, "u", "p" },
	} {
		o := good
		change(&o)
		_, err := NewMail(o)
		if (err == nil) != (want == "") || err != nil && !strings.HasPrefix(err.Error(), want) {
			t.Errorf("want a mistake of %q, got %v", want, err)
		}
	}
}
