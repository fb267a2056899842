package appspec

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// ACE is one entry of an access control list.
type ACE struct {
	Default bool
	Type    string // user, group, mask or other
	Name    string // of the user or group; empty for the owning one
	Read    bool
	Write   bool
	Exec    bool
}

// String is the entry as setfacl wants it.
func (a ACE) String() string {
	perms := []byte("---")
	for i, on := range []bool{a.Read, a.Write, a.Exec} {
		if on {
			perms[i] = "rwx"[i]
		}
	}
	prefix := ""
	if a.Default {
		prefix = "default:"
	}
	return prefix + a.Type + ":" + a.Name + ":" + string(perms)
}

var aceTypes = map[string]string{
	"u": "user", "user": "user", "g": "group", "group": "group",
	"m": "mask", "mask": "mask", "o": "other", "other": "other",
}

func isDefault(s string) bool { return s == "d" || s == "default" }

// ParseACE reads one entry (CodeDeploy reference 1.5). If it is none, code and
// message say so.
func ParseACE(text string) (a ACE, code, message string) {
	parts := strings.Split(strings.TrimSpace(text), ":")
	invalid := func(why string) (ACE, string, string) {
		return ACE{}, "PERM_ACE", fmt.Sprintf("invalid acl entry %q: %s", text, why)
	}
	if len(parts) < 2 || len(parts) > 4 {
		return invalid(fmt.Sprintf("has %d parts: want 2 to 4", len(parts)))
	}
	perms := parts[len(parts)-1]
	head := parts[:len(parts)-1]
	if len(head) > 1 && isDefault(head[0]) {
		a.Default, head = true, head[1:]
	} else if len(head) == 3 {
		return invalid("want d or default first")
	}
	switch kind, known := aceTypes[head[0]]; {
	case len(head) == 2 && !known:
		return invalid(fmt.Sprintf("unknown type %q", head[0]))
	case len(head) == 2:
		a.Type, a.Name = kind, head[1]
	case kind == "mask", kind == "other":
		a.Type = kind
	case isDefault(head[0]):
		return invalid("default needs a user or group")
	default:
		a.Type, a.Name = "user", head[0]
	}
	if (a.Type == "mask" || a.Type == "other") && a.Name != "" {
		return invalid(a.Type + " takes no name")
	}
	if a.Name == "" && !a.Default && a.Type != "mask" {
		return ACE{}, "PERM_ACE_BASE", fmt.Sprintf("acl entry %q is a base entry: use mode for it", text)
	}
	return withPerms(a, text, perms)
}

// withPerms adds the permissions: one octal digit or letters of rwx-.
func withPerms(a ACE, text, perms string) (ACE, string, string) {
	if len(perms) == 1 && perms[0] >= '0' && perms[0] <= '7' {
		n := perms[0] - '0'
		a.Read, a.Write, a.Exec = n&4 != 0, n&2 != 0, n&1 != 0
		return a, "", ""
	}
	for _, c := range perms {
		switch c {
		case 'r':
			a.Read = true
		case 'w':
			a.Write = true
		case 'x':
			a.Exec = true
		case '-':
		default:
			return ACE{}, "PERM_ACE_CHAR", fmt.Sprintf("invalid character %q in acl entry %q: want r, w, x or -", c, text)
		}
	}
	return a, "", ""
}

func (p *parser) ace(n *yaml.Node, where string) []ACE {
	text, _ := p.Text(n, where)
	a, code, message := ParseACE(text)
	if code != "" {
		p.Errorf(n, code, "%s: %s", where, message)
		return nil
	}
	return []ACE{a}
}

// FullACL adds to the entries of an author what setfacl --set needs: the base
// entries of mode, and masks (reference 1.5).
func FullACL(acl []ACE, perm uint32) []ACE {
	base := func(kind string, shift uint32) ACE {
		b := perm >> shift
		return ACE{Type: kind, Read: b&4 != 0, Write: b&2 != 0, Exec: b&1 != 0}
	}
	user, group, other := base("user", 6), base("group", 3), base("other", 0)
	full := append(slices.Clone(acl), user, group, other)
	if lacksMask(acl, false) {
		full = append(full, as(group, "mask", false))
	}
	if !slices.ContainsFunc(acl, func(a ACE) bool { return a.Default }) {
		return full
	}
	for _, b := range []ACE{user, group, other} {
		if i := unnamed(acl, b.Type); i < 0 {
			full = append(full, as(b, b.Type, true))
		} else if b.Type == "group" {
			group = acl[i]
		}
	}
	if lacksMask(acl, true) {
		full = append(full, as(group, "mask", true))
	}
	return full
}

func as(a ACE, kind string, def bool) ACE {
	a.Type, a.Default = kind, def
	return a
}

// unnamed is the index of the default entry for the owning user or group or
// for others, or -1.
func unnamed(acl []ACE, kind string) int {
	return slices.IndexFunc(acl, func(a ACE) bool { return a.Default && a.Type == kind && a.Name == "" })
}

// lacksMask reports whether named entries need a mask that is not there.
func lacksMask(acl []ACE, def bool) bool {
	named, mask := false, false
	for _, a := range acl {
		if a.Default == def {
			named = named || a.Name != ""
			mask = mask || a.Type == "mask"
		}
	}
	return named && !mask
}
