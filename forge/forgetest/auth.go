package forgetest

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v4"
)

// grant is what one token may do.
type grant struct {
	personal     bool
	login        string // of a person who signed in; empty: slipway
	installation int64
	repos        []int64 // empty: all of the installation
	permissions  map[string]string
	expires      time.Time
}

// AddToken makes a personal token valid for everything but check runs.
func (g *GitHub) AddToken(value string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tokens[value] = &grant{personal: true, expires: g.o.Now().AddDate(10, 0, 0)}
}

// ExpireTokens ends all installation tokens.
func (g *GitHub) ExpireTokens() {
	g.mu.Lock()
	defer g.mu.Unlock()
	maps.DeleteFunc(g.tokens, func(_ string, t *grant) bool { return !t.personal })
}

// problem is an answer other than 2xx.
type problem struct {
	status  int
	message string
}

func bearer(r *http.Request) string {
	_, value, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return value
}

// asApp checks a JWT as GitHub does.
func (g *GitHub) asApp(r *http.Request) *problem {
	value := bearer(r)
	if strings.Count(value, ".") != 2 {
		return &problem{http.StatusUnauthorized, "A JSON web token could not be decoded"}
	}
	var claims jwt.RegisteredClaims
	parser := jwt.NewParser(jwt.WithoutClaimsValidation(), jwt.WithValidMethods([]string{"RS256"}))
	var err error
	if g.o.Key != nil {
		_, err = parser.ParseWithClaims(value, &claims, func(*jwt.Token) (any, error) { return g.o.Key, nil })
	} else {
		_, _, err = parser.ParseUnverified(value, &claims)
	}
	now := g.o.Now()
	switch {
	case err != nil || claims.ExpiresAt == nil || claims.IssuedAt == nil:
		return &problem{http.StatusUnauthorized, "A JSON web token could not be decoded"}
	case claims.Issuer != strconv.FormatInt(g.o.AppID, 10):
		return &problem{http.StatusUnauthorized, "Integration not found"}
	case claims.ExpiresAt.After(now.Add(10 * time.Minute)):
		return &problem{http.StatusUnauthorized, "'Expiration time' claim ('exp') is too far in the future"}
	case claims.ExpiresAt.Before(now):
		return &problem{http.StatusUnauthorized, "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires"}
	case claims.IssuedAt.After(now):
		return &problem{http.StatusUnauthorized, "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued"}
	}
	return nil
}

// access finds the repository of a request and checks that its token may do
// what is asked. The lock is held.
func (g *GitHub) access(r *http.Request, permission, level string) (*repo, *grant, *problem) {
	t := g.tokens[bearer(r)]
	if t == nil || !g.o.Now().Before(t.expires) {
		return nil, nil, &problem{http.StatusUnauthorized, "Bad credentials"}
	}
	if i := g.installs[t.installation]; i != nil && i.suspended {
		return nil, nil, &problem{http.StatusForbidden, "This installation has been suspended"}
	}
	found := g.repos[strings.ToLower(r.PathValue("owner")+"/"+r.PathValue("repo"))]
	if found == nil || !t.personal && (found.Installation != t.installation || len(t.repos) > 0 && !slices.Contains(t.repos, found.ID)) {
		return nil, nil, &problem{http.StatusNotFound, "Not Found"}
	}
	if t.personal && permission == "checks" && level == "write" {
		return nil, nil, &problem{http.StatusForbidden, "You must authenticate via a GitHub App."}
	}
	if have := t.permissions[permission]; !t.personal && have != "write" && (have == "" || level == "write") {
		return nil, nil, &problem{http.StatusForbidden, "Resource not accessible by integration"}
	}
	return found, t, nil
}

// mint makes an installation token.
func (g *GitHub) mint(r *http.Request, body []byte) (int, any) {
	id, _ := strconv.ParseInt(r.PathValue("installation"), 10, 64)
	i := g.installs[id]
	switch {
	case i == nil:
		return fail(http.StatusNotFound, "Not Found")
	case i.suspended:
		return fail(http.StatusForbidden, "This installation has been suspended")
	}
	var want struct {
		RepositoryIDs []int64           `json:"repository_ids"`
		Repositories  []string          `json:"repositories"`
		Permissions   map[string]string `json:"permissions"`
	}
	if err := json.Unmarshal(body, &want); err != nil && len(body) > 0 {
		return fail(http.StatusBadRequest, "Problems parsing JSON")
	}
	t := &grant{installation: id, permissions: maps.Clone(i.permissions), expires: g.o.Now().Add(g.o.TokenLife)}
	if want.Permissions != nil {
		t.permissions = want.Permissions
	}
	for name, level := range want.Permissions {
		if have := i.permissions[name]; have != "write" && have != level {
			return fail(http.StatusUnprocessableEntity, "The permissions requested are not granted to this installation.")
		}
	}
	for _, found := range g.repos {
		if found.Installation == id && (slices.Contains(want.RepositoryIDs, found.ID) || slices.Contains(want.Repositories, found.Name)) {
			t.repos = append(t.repos, found.ID)
		}
	}
	if len(t.repos) != len(want.RepositoryIDs)+len(want.Repositories) {
		return fail(http.StatusUnprocessableEntity, "There is at least one repository that does not exist or is not accessible to the parent installation.")
	}
	value := newToken(g.o.AppID)
	g.tokens[value] = t
	return http.StatusCreated, map[string]any{
		"token": value, "expires_at": t.expires.UTC().Format(time.RFC3339), "permissions": t.permissions, "repository_selection": "selected",
	}
}

// newToken has the long form that GitHub began to give out in 2026.
func newToken(app int64) string {
	random := make([]byte, 420)
	rand.Read(random) // never fails
	return fmt.Sprintf("ghs_%d_eyJ%s", app, base64.RawURLEncoding.EncodeToString(random))
}
