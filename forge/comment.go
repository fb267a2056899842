package forge

import (
	"slices"
	"time"
)

// Comment is what somebody wrote on a pull request.
type Comment struct {
	ID        string    `json:"id"`
	Body      string    `json:"body"`
	Author    User      `json:"author"`
	Pull      int       `json:"pull"` // number of the pull request
	Closed    bool      `json:"closed,omitempty"`
	CreatedAt time.Time `json:"created_at,omitzero"`
	WebURL    string    `json:"web_url,omitempty"`
	// Review says that it is the text of a review, which speaks of commit SHA.
	// Forges have no reactions on it.
	Review bool   `json:"review,omitempty"`
	SHA    string `json:"sha,omitempty"`
}

// Permission is what somebody may do with a repository. The zero value is
// nothing.
type Permission string

// The permissions, from least to most (forges reference 4.4).
const (
	NoPermission Permission = ""
	Read         Permission = "read"
	Triage       Permission = "triage"
	Write        Permission = "write"
	Maintain     Permission = "maintain"
	Admin        Permission = "admin"
)

var ladder = []Permission{NoPermission, Read, Triage, Write, Maintain, Admin}

// AtLeast reports whether p allows what want allows. A word that isn't on the
// ladder allows nothing and is allowed by nobody.
func (p Permission) AtLeast(want Permission) bool {
	have, need := slices.Index(ladder, p), slices.Index(ladder, want)
	return need >= 0 && have >= need
}

// Higher is the one of two that allows more.
func (p Permission) Higher(other Permission) Permission {
	if other.AtLeast(p) || slices.Index(ladder, p) < 0 {
		return other
	}
	return p
}
