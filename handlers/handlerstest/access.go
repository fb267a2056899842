package handlerstest

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/slipway-ci/slipway/access"
	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/pipeline"
)

// accounts are sessions, tokens, the audit log and a forge's permissions.
type accounts struct {
	notes       map[string]note
	tokens      map[string]access.Token // by sum
	audit       []access.Entry
	permissions map[string]forge.Permission // by login and owner/name
	asked       int
}

type note struct {
	data []byte
	end  time.Time
}

func newAccounts() accounts {
	return accounts{notes: map[string]note{}, tokens: map[string]access.Token{}, permissions: map[string]forge.Permission{}}
}

// PutNote keeps a note unless there is one of that name.
func (s *State) PutNote(_ context.Context, name string, data []byte, ttl time.Duration) (before bool, err error) {
	s.change(func() {
		if n, ok := s.accounts.notes[name]; ok && time.Now().Before(n.end) {
			before = true
			return
		}
		s.accounts.notes[name] = note{data, time.Now().Add(ttl)}
	})
	return before, s.down
}

// Note is what PutNote kept.
func (s *State) Note(_ context.Context, name string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, ok := s.accounts.notes[name]
	if !ok || time.Now().After(n.end) {
		return nil, cmp.Or(s.down, pipeline.ErrNotFound)
	}
	return n.data, s.down
}

// DropNote forgets a note.
func (s *State) DropNote(_ context.Context, name string) error {
	s.change(func() { delete(s.accounts.notes, name) })
	return nil
}

// Notes are the names and contents of all notes.
func (s *State) Notes() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string]string{}
	for name, n := range s.accounts.notes {
		out[name] = string(n.data)
	}
	return out
}

// AddToken keeps a token by its sum.
func (s *State) AddToken(_ context.Context, sum string, t access.Token) error {
	s.change(func() { s.accounts.tokens[sum] = t })
	return nil
}

// TokenOf finds a token by its sum.
func (s *State) TokenOf(_ context.Context, sum string) (access.Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.accounts.tokens[sum]
	if !ok {
		return t, cmp.Or(s.down, pipeline.ErrNotFound)
	}
	return t, s.down
}

// UsedToken notes a token's last use.
func (s *State) UsedToken(_ context.Context, sum string, at time.Time) error {
	s.change(func() {
		t := s.accounts.tokens[sum]
		t.UsedAt = at
		s.accounts.tokens[sum] = t
	})
	return nil
}

// Tokens lists all tokens by name.
func (s *State) Tokens(context.Context) ([]access.Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(maps.Values(s.accounts.tokens), func(a, b access.Token) int { return cmp.Compare(a.Name, b.Name) }), nil
}

// RevokeToken forgets a token.
func (s *State) RevokeToken(_ context.Context, id string) (err error) {
	s.change(func() {
		n := len(s.accounts.tokens)
		maps.DeleteFunc(s.accounts.tokens, func(_ string, t access.Token) bool { return t.ID == id })
		if len(s.accounts.tokens) == n {
			err = pipeline.ErrNotFound
		}
	})
	return err
}

// AddAudit appends to the audit log.
func (s *State) AddAudit(_ context.Context, e access.Entry) error {
	s.change(func() {
		e.ID = strconv.Itoa(len(s.accounts.audit) + 1)
		s.accounts.audit = append(s.accounts.audit, e)
	})
	return nil
}

// Audit lists the newest entries first.
func (s *State) Audit(_ context.Context, limit int, after string) (pipeline.Page[access.Entry], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.Clone(s.accounts.audit)
	slices.Reverse(all)
	return cut(all, limit, after), nil
}

// Allow lets somebody of the forge do something with a repository, owner/name.
func (s *State) Allow(login, repo string, p forge.Permission) {
	s.change(func() { s.accounts.permissions[login+" "+repo] = p })
}

// Permission is what Allow said. A forge that is down tells nothing.
func (s *State) Permission(_ context.Context, repo forge.Repo, _ int64, user forge.User) (p forge.Permission, err error) {
	s.change(func() {
		s.accounts.asked++
		p = s.accounts.permissions[user.Login+" "+repo.FullName()]
		if s.down != nil {
			err = &forge.RetryError{Err: s.down}
		}
	})
	return p, err
}

// Asked is how often permissions were asked for.
func (s *State) Asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accounts.asked
}
