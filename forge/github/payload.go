package github

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"regexp"
)

// What is wrong with a delivery that is authentic but cannot be read.
var (
	// ErrMediaType: the body is neither JSON nor a form.
	ErrMediaType = errors.New("unsupported media type")
	// ErrNotJSON: the body, or the form's payload, is not a JSON object.
	ErrNotJSON = errors.New("not a JSON object")
	// ErrHeader: the event's name or the delivery's ID is missing or malformed.
	ErrHeader = errors.New("delivery header")
)

// Payload is the JSON of a delivery's body: the body itself, or the form field
// "payload" of it. An error is ErrMediaType or ErrNotJSON. Only that it begins
// an object is looked at: Scan reads it to its end, and once is enough.
func Payload(contentType string, body []byte) ([]byte, error) {
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return nil, fmt.Errorf("%w: %q", ErrMediaType, contentType)
	}
	switch media {
	case "application/json":
	case "application/x-www-form-urlencoded":
		form, err := url.ParseQuery(string(body))
		if err != nil || len(form["payload"]) != 1 {
			return nil, fmt.Errorf("%w: want one form field payload", ErrNotJSON)
		}
		body = []byte(form.Get("payload"))
	default:
		return nil, fmt.Errorf("%w: %q", ErrMediaType, media)
	}
	if !isObject(body) {
		return nil, ErrNotJSON
	}
	return body, nil
}

func isObject(body []byte) bool {
	body = bytes.TrimLeft(body, " \t\r\n")
	return len(body) > 0 && body[0] == '{'
}

// Delivery is what the receiver needs of a delivery before it answers: enough
// to file it, to tell repeats and to ignore what is not for us. Fields that the
// delivery does not have are empty.
type Delivery struct {
	ID             string // X-GitHub-Delivery
	Event          string // X-GitHub-Event
	Action         string
	HookID         string // X-GitHub-Hook-ID
	TargetType     string // X-GitHub-Hook-Installation-Target-Type: integration, repository, organization
	TargetID       string // the App's ID for an App's hook
	EnterpriseHost string // on GitHub Enterprise Server only
	UserAgent      string
	Installation   int64
	RepoID         string
	RepoName       string // owner/name, as the payload has it
	Ref            string // of a push
	SHA            string // of a push, a pull request's head, a merge group's, or a check
}

var (
	// The ID and the event's name end up in keys, URLs and labels.
	idShape    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)
	eventShape = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)
)

// Scan reads the headers and, in one pass that keeps nothing else, the few
// fields of Delivery. The body is what Payload returned. An error is ErrHeader
// or ErrNotJSON; a field of an unexpected type is left empty.
func Scan(header http.Header, body []byte) (Delivery, error) {
	d := Delivery{
		ID:             header.Get("X-GitHub-Delivery"),
		Event:          header.Get("X-GitHub-Event"),
		HookID:         header.Get("X-GitHub-Hook-ID"),
		TargetType:     header.Get("X-GitHub-Hook-Installation-Target-Type"),
		TargetID:       header.Get("X-GitHub-Hook-Installation-Target-ID"),
		EnterpriseHost: header.Get("X-GitHub-Enterprise-Host"),
		UserAgent:      header.Get("User-Agent"),
	}
	if !eventShape.MatchString(d.Event) {
		return d, fmt.Errorf("%w: X-GitHub-Event %q", ErrHeader, d.Event)
	}
	if !idShape.MatchString(d.ID) {
		return d, fmt.Errorf("%w: X-GitHub-Delivery %q", ErrHeader, d.ID)
	}
	var p scanned
	if err := unmarshal(body, &p); err != nil {
		return d, err
	}
	d.Action, d.Ref = p.Action, p.Ref
	d.Installation = p.Installation.ID
	d.RepoID, d.RepoName = string(p.Repository.ID), p.Repository.FullName
	d.SHA = firstOf(p.After, p.PullRequest.Head.SHA, p.CheckRun.HeadSHA, p.CheckSuite.HeadSHA, p.MergeGroup.HeadSHA)
	return d, nil
}

type scanned struct {
	Action       string `json:"action"`
	Ref          string `json:"ref"`
	After        string `json:"after"`
	Installation struct {
		ID int64 `json:"id"`
	} `json:"installation"`
	Repository struct {
		ID       ident  `json:"id"`
		FullName string `json:"full_name"`
	} `json:"repository"`
	PullRequest struct {
		Head struct {
			SHA string `json:"sha"`
		} `json:"head"`
	} `json:"pull_request"`
	CheckRun   headSHA `json:"check_run"`
	CheckSuite headSHA `json:"check_suite"`
	MergeGroup headSHA `json:"merge_group"`
}

type headSHA struct {
	HeadSHA string `json:"head_sha"`
}

// unmarshal reads a JSON object and leaves fields of other types than ours
// empty: GitHub adds and changes fields, and whoever needs one checks it.
func unmarshal(body []byte, v any) error {
	if !isObject(body) {
		return ErrNotJSON
	}
	err := json.Unmarshal(body, v)
	if _, mismatch := errors.AsType[*json.UnmarshalTypeError](err); err == nil || mismatch {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrNotJSON, err)
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
