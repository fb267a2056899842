package sender

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/smtp"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/notify"
)

// The ways in which a mail server is spoken to.
const (
	StartTLS = "starttls" // TLS once the connection stands, or nothing is sent
	TLS      = "tls"      // TLS from the first byte
	NoTLS    = "none"     // none; there can be no password then
)

// MailOptions say which mail server takes messages, and for whom.
type MailOptions struct {
	Network Network
	Server  string // HOST:PORT
	TLS     string // empty: StartTLS
	// Roots are who may vouch for the server; nil: who the host trusts.
	Roots *x509.CertPool
	// User and Password sign in; empty: nobody does.
	User, Password string
	From           string // a person's address, as RFC 5322 writes it
	To             []string
	// Source is where people reach Slipway; its host names us.
	Source string
}

// Mail sends messages as plain text, all those of an execution in one thread.
type Mail struct {
	o    MailOptions
	from *mail.Address
	to   []*mail.Address
	us   string // our own host name
}

var _ notify.Sender = (*Mail)(nil)

// NewMail makes a Mail. It contacts nobody. The error names the field.
func NewMail(o MailOptions) (*Mail, error) {
	m := &Mail{o: o, us: "localhost"}
	if u, err := url.Parse(o.Source); err == nil && u.Hostname() != "" {
		m.us = u.Hostname()
	}
	if host, port, err := net.SplitHostPort(o.Server); err != nil || host == "" || port == "" {
		return nil, fmt.Errorf("server: want HOST:PORT, have %q", o.Server)
	}
	if !slices.Contains([]string{"", StartTLS, TLS, NoTLS}, o.TLS) {
		return nil, fmt.Errorf("tls: want one of %s, %s, %s, have %q", StartTLS, TLS, NoTLS, o.TLS)
	}
	if (o.User == "") != (o.Password == "") {
		return nil, errors.New("user: goes together with password or password_file")
	}
	if o.TLS == NoTLS && o.Password != "" {
		return nil, errors.New("tls: a password is sent with TLS only")
	}
	var err error
	if m.from, err = mailAddress(o.From); err != nil {
		return nil, fmt.Errorf("from: %w", err)
	}
	if len(o.To) == 0 {
		return nil, errors.New("to: want one address or more")
	}
	for _, to := range o.To {
		a, err := mailAddress(to)
		if err != nil {
			return nil, fmt.Errorf("to: %w", err)
		}
		m.to = append(m.to, a)
	}
	return m, nil
}

// mailAddress reads an address whose mailbox every server can take.
func mailAddress(s string) (*mail.Address, error) {
	a, err := mail.ParseAddress(s)
	if err != nil || strings.ContainsFunc(a.Address, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, fmt.Errorf("want an address such as ops@example.com, have %q", s)
	}
	return a, nil
}

// Send hands a message to the server. A repeat has the same Message-ID.
func (m *Mail) Send(ctx context.Context, msg notify.Message, _ string) (string, error) {
	text, err := m.text(msg)
	if err != nil {
		return "", fmt.Errorf("%w: %w", notify.ErrRefused, err)
	}
	err = m.deliver(ctx, text)
	if err != nil && ctx.Err() != nil {
		err = &forge.RetryError{Err: errors.New("no answer in time")}
	}
	return "", err
}

// deliver is one conversation with the server (RFC 5321).
func (m *Mail) deliver(ctx context.Context, text []byte) error {
	raw, err := m.o.Network.dial(ctx, "tcp", m.o.Server)
	if err != nil {
		return mailError("connecting", err)
	}
	defer raw.Close() // a second time, after Quit
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	conn := raw
	host, _, _ := net.SplitHostPort(m.o.Server) // NewMail has read it
	secure := &tls.Config{ServerName: host, RootCAs: m.o.Roots, MinVersion: tls.VersionTLS12}
	if m.o.TLS == TLS {
		conn = tls.Client(conn, secure)
	}
	c, err := smtp.NewClient(conn, host)
	if err != nil {
		return mailError("greeting", err)
	}
	if err := m.open(c, host, secure); err != nil {
		return err
	}
	if err := m.hand(c, text); err != nil {
		return err
	}
	_ = c.Quit() // it has the message
	return nil
}

// open greets the server and signs in.
func (m *Mail) open(c *smtp.Client, host string, secure *tls.Config) error {
	if err := c.Hello(m.us); err != nil {
		return mailError("greeting", err)
	}
	if m.o.TLS == "" || m.o.TLS == StartTLS {
		// Who sits between can hide that the server knows TLS: no TLS, no mail.
		if ok, _ := c.Extension("STARTTLS"); !ok {
			return fmt.Errorf("%w: the server doesn't offer STARTTLS", notify.ErrRefused)
		}
		if err := c.StartTLS(secure); err != nil {
			return mailError("starting TLS", err)
		}
	}
	if m.o.Password == "" {
		return nil
	}
	if err := c.Auth(smtp.PlainAuth("", m.o.User, m.o.Password, host)); err != nil {
		return mailError("signing in", err)
	}
	return nil
}

// hand gives the server the message for all who get it, or for nobody.
func (m *Mail) hand(c *smtp.Client, text []byte) error {
	if err := c.Mail(m.from.Address); err != nil {
		return mailError("naming the sender", err)
	}
	for i, to := range m.to {
		if err := c.Rcpt(to.Address); err != nil {
			return mailError(fmt.Sprintf("naming recipient %d of %d", i+1, len(m.to)), err)
		}
	}
	w, err := c.Data()
	if err == nil {
		_, err = w.Write(text)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return mailError("sending", err)
	}
	return nil
}

// mailError says whether a repeat may help: not after a reply of 5xx, nor where
// the server isn't who it should be. What the server wrote stays out: it may
// repeat what we sent.
func mailError(doing string, err error) error {
	if reply, ok := errors.AsType[*textproto.Error](err); ok {
		err := fmt.Errorf("%s: the server answers %d", doing, reply.Code)
		if reply.Code >= 500 {
			return fmt.Errorf("%w: %w", notify.ErrRefused, err)
		}
		return &forge.RetryError{Err: err}
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fmt.Errorf("%w: %s: %w", notify.ErrRefused, doing, err)
	}
	if errors.Is(err, notify.ErrRefused) {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return &forge.RetryError{Err: fmt.Errorf("%s: %w", doing, err)}
}

// text is the message with its headers (RFC 5322).
func (m *Mail) text(msg notify.Message) ([]byte, error) {
	var out bytes.Buffer
	header := func(name, value string) { fmt.Fprintf(&out, "%s: %s\r\n", name, value) }
	to := make([]string, len(m.to))
	for i, a := range m.to {
		to[i] = a.String()
	}
	thread := fmt.Sprintf("<%s@%s>", word(msg.Execution), m.us)
	header("From", m.from.String())
	header("To", strings.Join(to, ",\r\n "))
	header("Subject", mime.QEncoding.Encode("utf-8", msg.Title()))
	header("Date", msg.Time.Format(time.RFC1123Z))
	header("Message-ID", fmt.Sprintf("<%s@%s>", word(msg.ID), m.us))
	header("In-Reply-To", thread)
	header("References", thread)
	header("Auto-Submitted", "auto-generated") // no answer by machines (RFC 3834)
	header("MIME-Version", "1.0")
	header("Content-Type", "text/plain; charset=utf-8")
	header("Content-Transfer-Encoding", "quoted-printable")
	out.WriteString("\r\n")
	w := quotedprintable.NewWriter(&out)
	if _, err := io.WriteString(w, strings.ReplaceAll(mailBody(msg), "\n", "\r\n")); err != nil {
		return nil, err
	}
	err := w.Close()
	return out.Bytes(), err
}

// word is s as a part of a Message-ID.
func word(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '-'
	}, s)
}

// mailBody is what people read: what, of which commit, why, and one link.
func mailBody(m notify.Message) string {
	var parts []string
	add := func(s string) {
		if s != "" {
			parts = append(parts, s)
		}
	}
	about := m.Revision()
	if m.Author != "" {
		about += " · by " + m.Author
	}
	if took := m.Took(); took != "" {
		about += " · " + took
	}
	if m.Subject != "" {
		about += "\n" + m.Subject
	}
	add(m.Title() + "\n" + about)
	add(m.Question)
	add(m.Problem)
	if len(m.Tail) > 0 {
		add("    " + strings.Join(m.Tail, "\n    "))
	}
	add(m.URL)
	return mailText(strings.Join(parts, "\n\n")) + "\n"
}

// mailText leaves out what could drive whoever prints it.
func mailText(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 {
			return -1
		}
		return r
	}, s)
}
