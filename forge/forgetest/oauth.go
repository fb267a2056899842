package forgetest

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// OAuthApp is an App that people may sign in with.
type OAuthApp struct {
	ClientID, ClientSecret string
	Callbacks              []string
}

// grantedCode is what a code stands for.
type grantedCode struct {
	app       OAuthApp
	login     string
	redirect  string
	challenge string
}

// web is the part of GitHub that people see: agreeing to a sign-in, and making
// Apps. The lock of GitHub is held wherever it is used.
type web struct {
	apps    []OAuthApp
	login   string // who sits at the browser
	codes   map[string]grantedCode
	made    map[string]map[string]any // Apps by conversion code
	noHooks bool                      // Apps are made without a webhook secret
	secrets []string                  // webhook secrets that Apps gave themselves
}

// AddOAuth makes an App known that people may sign in with.
func (g *GitHub) AddOAuth(a OAuthApp) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.web.apps = append(g.web.apps, a)
}

// SitDown says who sits at the browser and agrees to everything; empty: nobody
// who agrees.
func (g *GitHub) SitDown(login string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.web.login = login
}

// WithoutHookSecrets makes the Apps from now on without a webhook secret.
func (g *GitHub) WithoutHookSecrets() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.web.noHooks = true
}

// HookSecrets are the webhook secrets that Apps gave themselves.
func (g *GitHub) HookSecrets() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.web.secrets)
}

// seenByPeople reports whether a path isn't of the REST interface.
func seenByPeople(path string) bool {
	return strings.HasPrefix(path, "/login/oauth/") || strings.HasPrefix(path, "/settings/") || strings.HasPrefix(path, "/organizations/")
}

func (g *GitHub) webRoutes(mux *http.ServeMux, on func(string, handle)) {
	mux.HandleFunc("GET /login/oauth/authorize", g.authorize)
	mux.HandleFunc("POST /settings/apps/new", g.newApp)
	mux.HandleFunc("POST /organizations/{org}/settings/apps/new", g.newApp)
	on("POST /login/oauth/access_token", g.accessToken)
	on("POST /app-manifests/{code}/conversions", g.convert)
	on("PATCH /app/hook/config", g.hookConfig)
}

// authorize sends the browser back with a code, or with an error.
func (g *GitHub) authorize(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	q := r.URL.Query()
	i := slices.IndexFunc(g.web.apps, func(a OAuthApp) bool { return a.ClientID == q.Get("client_id") })
	if i < 0 || !slices.Contains(g.web.apps[i].Callbacks, q.Get("redirect_uri")) {
		http.Error(w, "The redirect_uri is not associated with this application.", http.StatusBadRequest)
		return
	}
	back := url.Values{"state": {q.Get("state")}}
	if g.web.login == "" {
		back.Set("error", "access_denied")
	} else {
		code := rand.Text()
		g.web.codes[code] = grantedCode{g.web.apps[i], g.web.login, q.Get("redirect_uri"), q.Get("code_challenge")}
		back.Set("code", code)
	}
	http.Redirect(w, r, q.Get("redirect_uri")+"?"+back.Encode(), http.StatusFound)
}

// accessToken answers 200 whatever is wrong, as GitHub does.
func (g *GitHub) accessToken(_ *http.Request, body []byte) (int, any) {
	form, err := url.ParseQuery(string(body))
	bad := func(code string) (int, any) { return http.StatusOK, map[string]string{"error": code} }
	if err != nil {
		return bad("bad_request")
	}
	code, ok := g.web.codes[form.Get("code")]
	delete(g.web.codes, form.Get("code"))
	sum := sha256.Sum256([]byte(form.Get("code_verifier")))
	switch {
	case !ok, code.redirect != form.Get("redirect_uri"), code.challenge != base64.RawURLEncoding.EncodeToString(sum[:]):
		return bad("bad_verification_code")
	case code.app.ClientID != form.Get("client_id") || code.app.ClientSecret != form.Get("client_secret"):
		return bad("incorrect_client_credentials")
	}
	token := "ghu_" + rand.Text()
	g.tokens[token] = &grant{personal: true, login: code.login, expires: g.o.Now().Add(g.o.TokenLife)}
	return http.StatusOK, map[string]string{"access_token": token, "token_type": "bearer", "scope": ""}
}

// newApp makes an App from a manifest, as if its owner had agreed.
func (g *GitHub) newApp(w http.ResponseWriter, r *http.Request) {
	var m struct {
		Name  string            `json:"name"`
		URL   string            `json:"url"`
		Back  string            `json:"redirect_url"`
		Calls []string          `json:"callback_urls"`
		Perms map[string]string `json:"default_permissions"`
		Event []string          `json:"default_events"`
		Hook  struct {
			URL string `json:"url"`
		} `json:"hook_attributes"`
	}
	if err := json.Unmarshal([]byte(r.FormValue("manifest")), &m); err != nil || m.Name == "" || len(m.Name) > 34 || m.URL == "" || m.Hook.URL == "" || m.Back == "" {
		http.Error(w, "Invalid GitHub App configuration", http.StatusUnprocessableEntity)
		return
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	code, id := rand.Text(), g.id()
	app := OAuthApp{fmt.Sprintf("Iv23.%d", id), rand.Text(), m.Calls}
	g.web.apps = append(g.web.apps, app)
	var secret any = rand.Text()
	if g.web.noHooks {
		secret = nil
	}
	g.o.AppID, g.o.Key = id, &key.PublicKey
	g.web.made[code] = map[string]any{
		"id": id, "slug": "slipway-app", "name": m.Name, "html_url": g.URL + "apps/slipway-app", "permissions": m.Perms, "events": m.Event,
		"client_id": app.ClientID, "client_secret": app.ClientSecret, "webhook_secret": secret,
		"pem": string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})),
	}
	back := url.Values{"code": {code}, "state": {r.URL.Query().Get("state")}}
	http.Redirect(w, r, m.Back+"?"+back.Encode(), http.StatusFound)
}

func (g *GitHub) convert(r *http.Request, _ []byte) (int, any) {
	app, ok := g.web.made[r.PathValue("code")]
	delete(g.web.made, r.PathValue("code"))
	if !ok {
		return fail(http.StatusNotFound, "Not Found")
	}
	return http.StatusCreated, app
}

func (g *GitHub) hookConfig(r *http.Request, body []byte) (int, any) {
	if p := g.asApp(r); p != nil {
		return fail(p.status, p.message)
	}
	var in struct {
		Secret string `json:"secret"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return fail(http.StatusBadRequest, "Problems parsing JSON")
	}
	g.web.secrets = append(g.web.secrets, in.Secret)
	return http.StatusOK, map[string]string{"secret": "********"}
}
