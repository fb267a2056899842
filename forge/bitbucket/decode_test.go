package bitbucket

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/forge/forgetest"
	"github.com/slipway-ci/slipway/internal/testenv"
)

var printFacts = flag.Bool("facts", false, "print what the corpus means, as a table for corpus_test.go")

func headers(event string) http.Header {
	h := http.Header{}
	h.Set(EventHeader, event)
	h.Set(CloudDeliveryHeader, "0b3c2a5e-2b0f-4b0a-8d4e-6f1c9a7e5d11")
	h.Set(ServerDeliveryHeader, "0b3c2a5e-2b0f-4b0a-8d4e-6f1c9a7e5d11")
	return h
}

func decodeOf(corpus string) func(h http.Header, body []byte) (forge.Event, error) {
	if corpus == "bitbucket-cloud" {
		return func(h http.Header, body []byte) (forge.Event, error) {
			return DecodeCloud("bitbucket", h, body, "https://bitbucket.org/")
		}
	}
	return func(h http.Header, body []byte) (forge.Event, error) {
		return DecodeServer("bitbucket-server", h, body, "https://git.example.com")
	}
}

// facts are an event in one line.
func facts(e forge.Event) string {
	out := strings.TrimSpace(string(e.Kind) + " " + e.Action)
	if e.Repo.ID != "" {
		out += " in " + e.Repo.ID + " " + e.Repo.FullName()
	}
	for _, one := range append([]forge.Event{e}, e.More...) {
		if p := one.Push; p != nil {
			out += fmt.Sprintf("; %s %.7s..%.7s", p.Ref, p.Before, p.After) + flags(map[string]bool{"created": p.Created, "deleted": p.Deleted, "forced": p.Forced})
		}
	}
	if p := e.Pull; p != nil {
		out += fmt.Sprintf("; #%d %s %s>%s%s", p.Number, p.FetchRef, p.HeadRef, p.BaseRef, merge(p.MergeSHA)) +
			flags(map[string]bool{"internal": p.Internal(), "closed": p.Closed, "merged": p.Merged, "draft": p.Draft, "old?": p.HeadMayBeOld, "rebased": p.BaseChanged})
	}
	if c := e.Comment; c != nil {
		out += fmt.Sprintf("; #%d %s says %q", c.Pull, c.Author.Login, c.Body)
	}
	return out
}

func merge(sha string) string {
	if sha == "" {
		return ""
	}
	return " merge " + sha[:7]
}

func flags(set map[string]bool) string {
	out := ""
	for _, name := range []string{"created", "deleted", "forced", "internal", "closed", "merged", "draft", "old?", "rebased"} {
		if set[name] {
			out += " " + name
		}
	}
	return out
}

// In the wild: 46, 47.
func TestCorpus(t *testing.T) {
	seen := map[string]bool{}
	for _, name := range []string{"bitbucket-cloud", "bitbucket-dc"} {
		folder := testenv.Shared(t, "corpus/"+name)
		for file, event := range eventKeys(t, folder) {
			body, err := os.ReadFile(filepath.Join(folder, file))
			if err != nil {
				t.Fatal(err)
			}
			e, err := decodeOf(name)(headers(event), body)
			key := name + "/" + strings.TrimSuffix(file, ".json")
			seen[key] = true
			if *printFacts {
				fmt.Printf("\t%q: %q,\n", key, facts(e))
				continue
			}
			if diff := cmp.Diff(corpus[key], facts(e)); diff != "" || err != nil {
				t.Errorf("%s: %v (-want +got)\n%s", key, err, diff)
			}
		}
	}
	for key := range corpus {
		if !seen[key] {
			t.Errorf("%s: gone from the corpus", key)
		}
	}
}

// eventKeys are the events of a corpus' files.
func eventKeys(t *testing.T, folder string) map[string]string {
	t.Helper()
	index, err := os.ReadFile(filepath.Join(folder, "index.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for row := range strings.Lines(string(index)) {
		if column := strings.Split(row, "\t"); strings.HasSuffix(column[0], ".json") {
			out[column[0]] = column[1]
		}
	}
	return out
}

var (
	someRepo = forgetest.BitbucketRepo{ID: 7, UUID: "{94189367-116b-436a-9f77-000000000007}", Owner: "octo", Name: "web", DefaultBranch: "main"}
	shaA     = strings.Repeat("a", 40)
	shaB     = strings.Repeat("b", 40)
)

func encode(t *testing.T, v any) []byte {
	t.Helper()
	body, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// A fork is one although somebody claims our repository's ID for it, and a fork
// that is gone is nobody's.
func TestForks(t *testing.T) {
	for name, headRepo := range map[string]int64{"fork": 99, "gone": -1, "same number, other project": 7} {
		p := forgetest.Pull{Number: 4, Head: "topic", HeadSHA: shaA, BaseSHA: shaB, HeadRepo: headRepo}
		cloud, err := DecodeCloud("bitbucket", headers("pullrequest:created"), encode(t, forgetest.CloudPullPayload(someRepo, p)), "https://bitbucket.org/")
		if err != nil || cloud.Pull.Internal() || cloud.Pull.FetchRef != "" {
			t.Errorf("%s, Cloud: %v, got %+v", name, err, cloud.Pull)
		}
		if headRepo < 0 {
			continue
		}
		server, err := DecodeServer("bitbucket-server", headers("pr:opened"), encode(t, forgetest.ServerPullPayload(someRepo, p)), "https://git.example.com")
		if err != nil || server.Pull.Internal() {
			t.Errorf("%s, Data Center: %v, got %+v", name, err, server.Pull)
		}
	}
	payload := forgetest.CloudPullPayload(someRepo, forgetest.Pull{Number: 4, Head: "topic", HeadSHA: shaA, BaseSHA: shaB})
	source := payload["pullrequest"].(map[string]any)["source"].(map[string]any)
	source["repository"].(map[string]any)["full_name"] = "mallory/web"
	e, err := DecodeCloud("bitbucket", headers("pullrequest:created"), encode(t, payload), "https://bitbucket.org/")
	if err != nil || e.Pull.Internal() {
		t.Errorf("one UUID with two names: %v, got %+v", err, e.Pull)
	}
}

func TestRefusesWhatIsNoEvent(t *testing.T) {
	push := forgetest.CloudPush(someRepo, forgetest.Push{Ref: "refs/heads/x..y", After: shaA})
	short := forgetest.CloudPush(someRepo, forgetest.Push{Ref: "refs/heads/x", After: "abc1234"})
	many := forgetest.CloudPush(someRepo, make([]forgetest.Push, changeLimit+1)...)
	pull := forgetest.CloudPullPayload(someRepo, forgetest.Pull{Number: 0, Head: "x", HeadSHA: shaA, BaseSHA: shaB})
	nameless := forgetest.CloudPush(forgetest.BitbucketRepo{Owner: "..", Name: "x"}, forgetest.Push{Ref: "refs/heads/x", After: shaA})
	tests := []struct {
		name, event string
		body        any
	}{
		{"a branch that git could not have", "repo:push", push},
		{"a short commit in a push", "repo:push", short},
		{"too many refs", "repo:push", many},
		{"no repository", "repo:push", map[string]any{"push": push["push"]}},
		{"a repository's bad name", "repo:push", nameless},
		{"no number", "pullrequest:created", pull},
		{"no comment", "pullrequest:comment_created", map[string]any{}},
		{"not an object", "repo:push", []int{1}},
	}
	for _, tt := range tests {
		if e, err := DecodeCloud("bitbucket", headers(tt.event), encode(t, tt.body), ""); err == nil {
			t.Errorf("%s: got %+v", tt.name, e)
		}
	}
}

// Attacks: 9.
// In the wild: 48.
func TestVerify(t *testing.T) {
	body := []byte("Hello, World!")
	secret := "It's a Secret to Everybody"
	signed := func(value string) http.Header { return http.Header{signatureHeader: {value}} }
	const known = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
	tests := []struct {
		name   string
		header http.Header
		want   int
	}{
		{"the documented one", signed(known), 1},
		{"none", http.Header{}, -1},
		{"two", http.Header{signatureHeader: {known, known}}, -1},
		{"SHA-1", signed("sha1=" + strings.Repeat("a", 40)), -1},
		{"not hex", signed("sha256=" + strings.Repeat("x", 64)), -1},
		{"another", signed(strings.Replace(known, "7571", "7570", 1)), -1},
		{"of an empty secret", signed(forgetest.Sign("", body)), -1},
	}
	for _, tt := range tests {
		got, err := Verify([]string{"old", secret, ""}, tt.header, body)
		if got != tt.want || (err == nil) != (tt.want >= 0) || err != nil && !errors.Is(err, forge.ErrSignature) {
			t.Errorf("%s: got %d, %v, want %d", tt.name, got, err, tt.want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"push":{"changes":[{"new":{"type":"branch","name":"x","target":{"hash":"` + shaA + `"}}}]},"repository":{"uuid":"{94189367-116b-436a-9f77-000000000007}","full_name":"o/n"}}`))
	f.Add([]byte(`{"pullRequest":{"id":1,"fromRef":{"id":"refs/heads/x","latestCommit":"` + shaA + `"},"toRef":{"id":"refs/heads/main","latestCommit":"` + shaB + `","repository":{"id":1,"slug":"a","project":{"key":"~B"}}}}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, event := range []string{"repo:push", "pullrequest:updated", "pullrequest:comment_created", "repo:refs_changed", "pr:opened", "pr:comment:added"} {
			for _, corpus := range []string{"bitbucket-cloud", "bitbucket-dc"} {
				e, err := decodeOf(corpus)(headers(event), body)
				if err != nil || e.Kind == forge.Other {
					continue
				}
				if e.Repo.ID == "" || !forge.ValidName(e.Repo.Owner) || !forge.ValidName(e.Repo.Name) {
					t.Errorf("%s without a repository: %+v", event, e)
				}
				data, err := json.Marshal(e)
				var again forge.Event
				if err != nil || json.Unmarshal(data, &again) != nil {
					t.Errorf("%s does not come back: %v", event, err)
				}
			}
		}
	})
}
