package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slipway-ci/slipway/access"
	"github.com/slipway-ci/slipway/pipeline"
)

// All keys of access are in one slot, apart from notes.
const accessBase = "slipway:{access}:"

// apiTokensKey is a hash: SHA-256 of a token, in hex -> access.Token as JSON.
func apiTokensKey() string { return accessBase + "tokens" }

// apiTokensUsedKey is a hash: the same sum -> when it was used last, in ms.
func apiTokensUsedKey() string { return accessBase + "tokens:used" }

// noteKey holds a note for a while.
func noteKey(name string) string { return "slipway:{note:" + name + "}:note" }

// apiTokensLimit bounds how many tokens there are.
const apiTokensLimit = 1000

// addToken keeps a token.
//
//	KEYS  tokens
//	ARGV  sum, token as JSON, limit
//	returns 1, or 0 if there are too many
var addToken = redis.NewScript(`
if redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[3]) then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1`)

// AddToken keeps an API token under the sum of its value. Tokens that have
// expired are forgotten on the way; a thousand others are too many.
func (s *Store) AddToken(ctx context.Context, sum string, t access.Token) error {
	t.V, t.UsedAt = version, time.Time{}
	data, err := json.Marshal(t)
	if err != nil {
		return wrapped("encoding a token", err)
	}
	if err := s.forgetTokens(ctx, func(t access.Token) bool { return t.Expired(time.Now()) }); err != nil && !errors.Is(err, pipeline.ErrNotFound) {
		return err
	}
	n, err := s.run(ctx, addToken, []string{apiTokensKey()}, sum, data, apiTokensLimit).Int()
	if err == nil && n == 0 {
		err = &pipeline.UserError{Code: "TOO_MANY_TOKENS", Msg: fmt.Sprintf("there are %d tokens already: revoke some", apiTokensLimit)}
	}
	return wrapped("keeping a token", err)
}

// TokenOf is the token whose value has this sum. ErrNotFound: there is none.
func (s *Store) TokenOf(ctx context.Context, sum string) (access.Token, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	data, err := s.rdb.HGet(ctx, apiTokensKey(), sum).Bytes()
	if isNil(err) {
		err = pipeline.ErrNotFound
	}
	var t access.Token
	if err == nil {
		t, err = decodeToken(data)
	}
	return t, wrapped("looking up a token", err)
}

func decodeToken(data []byte) (access.Token, error) {
	var t access.Token
	if err := json.Unmarshal(data, &t); err != nil {
		return t, fmt.Errorf("decoding a token: %w", err)
	}
	if t.V > version {
		return t, errNewer
	}
	return t, nil
}

// UsedToken notes when a token was used.
func (s *Store) UsedToken(ctx context.Context, sum string, at time.Time) error {
	ctx, cancel := limited(ctx)
	defer cancel()
	return wrapped("noting a token's use", s.rdb.HSet(ctx, apiTokensUsedKey(), sum, at.UnixMilli()).Err())
}

// Tokens are all API tokens by name.
func (s *Store) Tokens(ctx context.Context) ([]access.Token, error) {
	bySum, err := s.tokens(ctx)
	out := make([]access.Token, 0, len(bySum))
	for _, t := range bySum {
		out = append(out, t)
	}
	slices.SortFunc(out, func(a, b access.Token) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return out, err
}

func (s *Store) tokens(ctx context.Context) (map[string]access.Token, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	var all, used *redis.MapStringStringCmd
	if _, err := s.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		all, used = p.HGetAll(ctx, apiTokensKey()), p.HGetAll(ctx, apiTokensUsedKey())
		return nil
	}); err != nil {
		return nil, fmt.Errorf("listing tokens: %w", err)
	}
	out := map[string]access.Token{}
	for sum, data := range all.Val() {
		t, err := decodeToken([]byte(data))
		if err != nil {
			return nil, err
		}
		if ms, err := strconv.ParseInt(used.Val()[sum], 10, 64); err == nil {
			t.UsedAt = time.UnixMilli(ms).UTC()
		}
		out[sum] = t
	}
	return out, nil
}

// RevokeToken makes a token worth nothing. ErrNotFound: none has the ID.
func (s *Store) RevokeToken(ctx context.Context, id string) error {
	return s.forgetTokens(ctx, func(t access.Token) bool { return t.ID == id })
}

// forgetTokens drops the tokens that are meant; ErrNotFound: there were none.
func (s *Store) forgetTokens(ctx context.Context, meant func(access.Token) bool) error {
	all, err := s.tokens(ctx)
	if err != nil {
		return err
	}
	var sums []string
	for sum, t := range all {
		if meant(t) {
			sums = append(sums, sum)
		}
	}
	if len(sums) == 0 {
		return pipeline.ErrNotFound
	}
	ctx, cancel := limited(ctx)
	defer cancel()
	_, err = s.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.HDel(ctx, apiTokensKey(), sums...)
		p.HDel(ctx, apiTokensUsedKey(), sums...)
		return nil
	})
	return wrapped("revoking a token", err)
}

// PutNote keeps a small thing for a while; before says that there was one of
// that name, which then stays.
func (s *Store) PutNote(ctx context.Context, name string, data []byte, ttl time.Duration) (before bool, err error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	fresh, err := s.rdb.SetNX(ctx, noteKey(name), data, ttl).Result()
	return !fresh && err == nil, wrapped("keeping a note", err)
}

// Note is what PutNote kept. ErrNotFound: nothing, or no longer.
func (s *Store) Note(ctx context.Context, name string) ([]byte, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	data, err := s.rdb.Get(ctx, noteKey(name)).Bytes()
	if isNil(err) {
		err = pipeline.ErrNotFound
	}
	return data, wrapped("reading a note", err)
}

// DropNote forgets a note, if there is one.
func (s *Store) DropNote(ctx context.Context, name string) error {
	ctx, cancel := limited(ctx)
	defer cancel()
	return wrapped("dropping a note", s.rdb.Del(ctx, noteKey(name)).Err())
}
