package deployer

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/user"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/slipway-ci/slipway/deployer/appspec"
)

// permission applies one entry to what this plan copies or creates (CodeDeploy
// reference 1.4).
func (p *planner) permission(r appspec.Permission) error {
	object := destination(r.Object)
	if it := p.plan.byPath[object]; it != nil && it.Kind != kindDir {
		if !r.Files {
			return nil
		}
		switch {
		case r.Pattern != "**":
			return p.errorAt(r.Line, r.Column, "PERM_FILE_PATTERN", "the pattern %s is for folders, %s is a file", r.Pattern, object)
		case len(r.Except) > 0:
			return p.errorAt(r.Line, r.Column, "PERM_FILE_EXCEPT", "except is for folders, %s is a file", object)
		}
		return p.grant(it, r)
	}
	matched := false
	for _, it := range p.plan.items {
		if !selects(r, object, it) {
			continue
		}
		matched = true
		if err := p.grant(it, r); err != nil {
			return err
		}
	}
	if !matched {
		p.warn("PERM_NO_MATCH", "line %d: the permission for %s matches nothing that this deployment copies or creates", r.Line, object)
	}
	return nil
}

// selects reports whether a permission for a folder is for this item.
func selects(r appspec.Permission, object string, it *item) bool {
	if it.Kind == kindDir && !r.Dirs || it.Kind != kindDir && !r.Files {
		return false
	}
	if it.Path == object {
		return r.IncludeSelf
	}
	rel, under := strings.CutPrefix(it.Path, strings.TrimSuffix(object, "/")+"/")
	return under && r.Matches(rel)
}

// grant gives an item its rights. One path takes one entry at most.
func (p *planner) grant(it *item, r appspec.Permission) error {
	if it.rule != 0 {
		return p.errorAt(r.Line, r.Column, "PERM_OVERLAP", "%s gets its permission in line %d already", it.Path, it.rule)
	}
	it.rule = r.Line
	hasDefault := slices.ContainsFunc(r.ACLs, func(a appspec.ACE) bool { return a.Default })
	if hasDefault && it.Kind != kindDir {
		return p.errorAt(r.Line, r.Column, "PERM_ACE_FILE", "default acl entries are for folders, %s is a file", it.Path)
	}
	if err := p.owner(it, r); err != nil {
		return err
	}
	if it.Kind == kindLink {
		return nil // it has no rights of its own, and what it names may not be ours
	}
	if r.Mode != nil {
		it.Mode = uint32(*r.Mode)
	}
	if len(r.ACLs) > 0 {
		if _, err := p.d.tool("setfacl"); err != nil {
			return p.errorAt(r.Line, r.Column, "PERM_TOOL", "acls need setfacl, which this host lacks")
		}
		it.acl = r.ACLs
	}
	return p.context(it, r)
}

func (p *planner) owner(it *item, r appspec.Permission) error {
	if r.Owner != "" {
		u, err := lookupUser(r.Owner)
		if err != nil {
			return p.errorAt(r.Line, r.Column, "PERM_OWNER", "this host has no user %s", r.Owner)
		}
		it.UID = u
	}
	if r.Group != "" {
		g, err := lookupGroup(r.Group)
		if err != nil {
			return p.errorAt(r.Line, r.Column, "PERM_OWNER", "this host has no group %s", r.Group)
		}
		it.GID = g
	}
	return nil
}

// lookupUser is the ID of a user given by name or number.
func lookupUser(name string) (int, error) {
	if id, err := strconv.Atoi(name); err == nil && id >= 0 {
		return id, nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(u.Uid)
}

func lookupGroup(name string) (int, error) {
	if id, err := strconv.Atoi(name); err == nil && id >= 0 {
		return id, nil
	}
	g, err := user.LookupGroup(name)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(g.Gid)
}

// context notes the SELinux context; a host without SELinux goes without.
func (p *planner) context(it *item, r appspec.Permission) error {
	if r.Context == nil {
		return nil
	}
	if !p.d.selinux() {
		p.warn("PERM_CONTEXT", "line %d: SELinux is off on this host, the context of %s is left out", r.Line, it.Path)
		return nil
	}
	for _, name := range []string{"semanage", "restorecon"} {
		if _, err := p.d.tool(name); err != nil {
			return p.errorAt(r.Line, r.Column, "PERM_TOOL", "a context needs %s, which this host lacks", name)
		}
	}
	it.se, it.Context = r.Context, true
	return nil
}

// setRights gives what lies at a host path the rights of an entry: the owner
// first, as a change of owner clears setuid and setgid.
func (d *Deployer) setRights(ctx context.Context, hostPath string, now, want entry, acl string) error {
	if now.UID != want.UID || now.GID != want.GID {
		if err := os.Lchown(hostPath, want.UID, want.GID); err != nil {
			return err
		}
	}
	if want.Kind == kindLink {
		return nil
	}
	if err := os.Chmod(hostPath, fs.FileMode(want.Mode)); err != nil {
		return err
	}
	if acl == "" {
		return nil
	}
	return d.runTool(ctx, "setfacl", "--set", acl, "--", hostPath)
}

// label adds a file context for an item and applies it.
func (d *Deployer) label(ctx context.Context, it *item) error {
	real, err := realPath(d.host(it.Path))
	if err != nil {
		return err
	}
	args := []string{"fcontext", "-a"}
	if it.se.User != "" {
		args = append(args, "-s", it.se.User)
	}
	args = append(args, "-t", it.se.Type)
	if it.se.Range != nil {
		args = append(args, "-r", it.se.Range.String())
	}
	return errors.Join(d.runTool(ctx, "semanage", append(args, real)...), d.runTool(ctx, "restorecon", "-v", real))
}

// unlabel deletes the file context of a path that is no longer deployed.
func (d *Deployer) unlabel(ctx context.Context, at string) error {
	real, err := realPath(d.host(at))
	if err != nil {
		return err
	}
	return d.runTool(ctx, "semanage", "fcontext", "-d", real)
}

// realPath resolves the links above a path, which itself may be gone.
func realPath(hostPath string) (string, error) {
	dir, err := evalExisting(path.Dir(hostPath))
	return path.Join(dir, path.Base(hostPath)), err
}

func evalExisting(dir string) (string, error) {
	if dir == "/" || dir == "." {
		return dir, nil
	}
	if _, err := os.Lstat(dir); err != nil {
		above, err := evalExisting(path.Dir(dir))
		return path.Join(above, path.Base(dir)), err
	}
	return filepath.EvalSymlinks(dir)
}
