package local

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/cgi"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/forge"
)

// A push or fetch takes no longer than this, whatever the client does.
const transferTimeout = 30 * time.Minute

// A fetch only names what it wants and has.
const fetchLimitBytes = 32 << 20

// service is one request of git's smart HTTP protocol (gitprotocol-http).
type service struct {
	owner, name string
	write       bool
	receives    bool // changes refs
}

// ServeHTTP serves /git/OWNER/NAME.git/... to whoever has a token, as the
// password of HTTP Basic or as a Bearer token.
func (h *Host) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, ok := serviceOf(r); ok && !h.Allowed(r) {
		w.Header().Set("WWW-Authenticate", `Basic realm="slipway", charset="UTF-8"`)
		http.Error(w, "a valid token is wanted as the password", http.StatusUnauthorized)
		return
	}
	h.Serve(w, r)
}

// Serve is ServeHTTP for a request whose sender was found to be allowed.
func (h *Host) Serve(w http.ResponseWriter, r *http.Request) {
	s, ok := serviceOf(r)
	if !ok {
		http.NotFound(w, r)
		return
	}
	login, _ := credentials(r)
	if h.exists(s.owner, s.name) != nil {
		http.NotFound(w, r)
		return
	}
	control := http.NewResponseController(w)
	end := h.o.Now().Add(transferTimeout)
	// A writer that knows no deadlines, as in tests, has the server's.
	_ = errors.Join(control.SetReadDeadline(end), control.SetWriteDeadline(end))
	limit := h.o.PushLimitBytes
	if !s.receives {
		limit = min(limit, fetchLimitBytes)
	}
	body, size, err := h.spool(w, r, limit)
	if err != nil {
		h.refuseBody(w, err)
		return
	}
	if body != nil {
		defer os.Remove(body.Name())
		defer body.Close()
		r.Body, r.ContentLength, r.TransferEncoding = body, size, nil
		r.Header.Del("Content-Encoding")
	}
	if s.receives {
		h.receive(w, r, s, pusher{login: login, userAgent: r.UserAgent()})
		return
	}
	h.backendFor(s, login).ServeHTTP(w, withoutCredentials(r))
}

// serviceOf reads the path and query; false: not something that git asks.
func serviceOf(r *http.Request) (service, bool) {
	rest, ok := strings.CutPrefix(r.URL.Path, "/git/")
	owner, rest, ok2 := strings.Cut(rest, "/")
	name, action, ok3 := strings.Cut(rest, ".git/")
	if !ok || !ok2 || !ok3 || checkName(owner, name) != nil {
		return service{}, false
	}
	s := service{owner: owner, name: name}
	switch {
	case r.Method == http.MethodGet && action == "info/refs":
		wanted := r.URL.Query().Get("service")
		s.write = wanted == "git-receive-pack"
		return s, s.write || wanted == "git-upload-pack"
	case r.Method == http.MethodPost && action == "git-upload-pack":
		return s, true
	case r.Method == http.MethodPost && action == "git-receive-pack":
		s.write, s.receives = true, true
		return s, true
	}
	return service{}, false
}

// Allowed reports whether a request has a token of this host that may do what it
// asks for: one of the host's, or a job's own.
func (h *Host) Allowed(r *http.Request) bool {
	s, ok := serviceOf(r)
	if !ok {
		return false
	}
	_, given := credentials(r)
	for _, t := range h.o.Tokens {
		if t != "" && same(t, given) {
			return true
		}
	}
	return !s.write && h.mayRead(given, s)
}

// credentials are the login that the client says it has, "" if it can't be one,
// and the token.
func credentials(r *http.Request) (login, token string) {
	login, token, basic := r.BasicAuth()
	if !basic {
		token, _ = strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	}
	if !forge.ValidName(login) {
		login = ""
	}
	return login, token
}

func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

const readPrefix = "slg_"

// ReadToken makes a token that reads one repository for as long as life, for a
// build to clone it with. It is not stored and cannot be taken back.
func (h *Host) ReadToken(owner, name string, life time.Duration) string {
	end := binary.BigEndian.AppendUint64(nil, uint64(h.o.Now().Add(life).Unix()))
	return readPrefix + base64.RawURLEncoding.EncodeToString(append(end, h.sign(end, owner, name)...))
}

func (h *Host) sign(end []byte, owner, name string) []byte {
	mac := hmac.New(sha256.New, h.key)
	mac.Write(end)
	io.WriteString(mac, owner+"/"+name)
	return mac.Sum(nil)
}

func (h *Host) mayRead(given string, s service) bool {
	text, ok := strings.CutPrefix(given, readPrefix)
	data, err := base64.RawURLEncoding.DecodeString(text)
	if !ok || err != nil || len(data) != 8+sha256.Size {
		return false
	}
	genuine := hmac.Equal(data[8:], h.sign(data[:8], s.owner, s.name))
	return genuine && h.o.Now().Unix() < int64(binary.BigEndian.Uint64(data[:8]))
}

// spool keeps the request's body in a file: a large push comes in chunks, which
// CGI cannot pass on, and a slow one must not hold the repository's lock. What
// is compressed is so no longer there, and limitBytes holds for both.
func (h *Host) spool(w http.ResponseWriter, r *http.Request, limitBytes int64) (*os.File, int64, error) {
	if r.Method != http.MethodPost {
		return nil, 0, nil
	}
	sent, err := decoded(http.MaxBytesReader(w, r.Body, limitBytes), r.Header.Get("Content-Encoding"))
	if err != nil {
		return nil, 0, err
	}
	f, err := os.CreateTemp(filepath.Join(h.o.Dir, "spool"), "push-")
	if err != nil {
		return nil, 0, err
	}
	size, err := io.Copy(f, http.MaxBytesReader(w, sent, limitBytes))
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	return f, size, nil
}

var errEncoding = errors.New("want no Content-Encoding, or gzip")

// decoded is a body as it was before its Content-Encoding. git sends long lists
// of what it has in gzip.
func decoded(body io.ReadCloser, encoding string) (io.ReadCloser, error) {
	switch strings.ToLower(encoding) {
	case "", "identity":
		return body, nil
	case "gzip", "x-gzip":
		return gzip.NewReader(body)
	}
	return nil, errEncoding
}

func (h *Host) refuseBody(w http.ResponseWriter, err error) {
	if disk, ok := errors.AsType[*fs.PathError](err); ok {
		h.o.Log.Error("what git sends can't be kept", "error", disk)
		http.Error(w, "the server can't keep what git sends", http.StatusInsufficientStorage)
		return
	}
	if errors.Is(err, errEncoding) {
		http.Error(w, err.Error(), http.StatusUnsupportedMediaType)
		return
	}
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		http.Error(w, "more than "+strconv.FormatInt(tooLarge.Limit, 10)+" bytes", http.StatusRequestEntityTooLarge)
		return
	}
	http.Error(w, "the request could not be read", http.StatusBadRequest)
}

func withoutCredentials(r *http.Request) *http.Request {
	r = r.Clone(r.Context())
	r.Header.Del("Authorization")
	r.Header.Del("Cookie")
	return r
}

// backendFor is git's http-backend for one request. Only with a REMOTE_USER it
// lets a push through.
func (h *Host) backendFor(s service, login string) http.Handler {
	env := append(h.environment(), "GIT_PROJECT_ROOT="+filepath.Join(h.o.Dir, "repos"), "GIT_HTTP_EXPORT_ALL=1")
	if s.write {
		if login == "" {
			login = "git"
		}
		env = append(env, "REMOTE_USER="+login)
	}
	logger := slog.NewLogLogger(h.o.Log.Handler(), slog.LevelDebug)
	return &cgi.Handler{Path: h.backend, Root: "/git", Dir: h.o.Dir, Env: env, Logger: logger, Stderr: logger.Writer()}
}

// receive takes a push. The client hears of success only once the events it
// makes are on the disk.
func (h *Host) receive(w http.ResponseWriter, r *http.Request, s service, who pusher) {
	defer h.lock(s.owner, s.name)()
	answer := &held{to: w, header: http.Header{}}
	h.backendFor(s, who.login).ServeHTTP(answer, withoutCredentials(r))
	// The refs have moved even if the client is gone by now.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), gitTimeout)
	defer cancel()
	if err := h.record(ctx, s.owner, s.name, who); err != nil {
		h.o.Log.ErrorContext(ctx, "push received, but not recorded yet", "repo", s.owner+"/"+s.name, "error", err)
		http.Error(w, "the push was received; its builds start later", http.StatusInternalServerError)
		return
	}
	if base := strings.TrimSuffix(h.o.URL, "/"); base != "" {
		answer.say("Slipway: " + base + "/repos/" + Name + "/" + s.owner + "/" + s.name)
	}
	answer.release()
}

// held is a response that waits. git's report on a push is small.
type held struct {
	to     http.ResponseWriter
	header http.Header
	status int
	body   bytes.Buffer
}

var errLongReport = errors.New("the report on a push is too long")

const reportLimitBytes = 32 << 20

func (a *held) Header() http.Header { return a.header }

func (a *held) WriteHeader(status int) { a.status = status }

func (a *held) Write(p []byte) (int, error) {
	if a.body.Len()+len(p) > reportLimitBytes {
		return 0, errLongReport
	}
	return a.body.Write(p)
}

// Bands of git's answer to a push, where the client takes several
// (gitprotocol-pack, side-band-64k): the first byte after each length.
const (
	bandData     = 1
	bandProgress = 2
	pktHeader    = 4 // length in hexadecimal, itself included
)

// say has git print a line to whoever pushes, if the client takes such lines.
func (a *held) say(line string) {
	report := bytes.Clone(a.body.Bytes())
	if a.status > http.StatusOK || len(report) <= pktHeader || report[pktHeader] != bandData && report[pktHeader] != bandProgress {
		return
	}
	packet := fmt.Sprintf("%04x%c%s\n", pktHeader+1+len(line)+1, bandProgress, line)
	a.body.Reset()
	a.body.WriteString(packet)
	a.body.Write(report)
	a.header.Del("Content-Length")
}

func (a *held) release() {
	for k, v := range a.header {
		a.to.Header()[k] = v
	}
	if a.status != 0 {
		a.to.WriteHeader(a.status)
	}
	a.to.Write(a.body.Bytes()) // whoever left will ask git again
}
