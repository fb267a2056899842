package buildspec

import (
	"fmt"
	"path"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Location is where a project or a start of a build says its buildspec is.
// Exactly one field is set.
type Location struct {
	// Inline is the text of the buildspec itself.
	Inline string
	// Path is a clean path with slashes, relative to the root of the primary
	// source.
	Path string
	// URL is an object in a store: an ARN or a URL such as s3://bucket/key.
	URL string
}

// ParseLocation reads the buildspec setting of a project or of a start. An
// empty one means DefaultFile. A path that is absolute or climbs out of the
// source is an error; links are for whoever opens it to check.
func ParseLocation(text string) (Location, error) {
	trimmed := strings.TrimSpace(text)
	switch {
	case trimmed == "":
		return Location{Path: DefaultFile}, nil
	case strings.Contains(trimmed, "\n"), strings.HasPrefix(trimmed, "{"), strings.HasPrefix(trimmed, "version"):
		return Location{Inline: text}, nil
	case strings.HasPrefix(trimmed, "arn:"), strings.Contains(trimmed, "://"):
		return Location{URL: trimmed}, nil
	}
	clean, err := cleanPath(trimmed)
	return Location{Path: clean}, err
}

func cleanPath(text string) (string, error) {
	slashed := strings.ReplaceAll(text, `\`, "/")
	clean := path.Clean(slashed)
	if path.IsAbs(slashed) || clean == ".." || strings.HasPrefix(clean, "../") || strings.ContainsRune(text, 0) {
		return "", fmt.Errorf("want a path inside the source, have %q", text)
	}
	if clean == "." {
		return "", fmt.Errorf("want a file, have the folder %q", text)
	}
	return clean, nil
}

// buildspecPath reads the buildspec key of a batch task. Such a path stays as
// written unless it leaves the source.
func (p *parser) buildspecPath(n *yaml.Node, where string) string {
	text, ok := p.Text(n, where)
	if !ok || strings.Contains(text, "\n") || strings.HasPrefix(text, "arn:") || strings.Contains(text, "://") {
		return text
	}
	if _, err := cleanPath(text); err != nil {
		p.bad(n, where, err)
	}
	return text
}
