package report

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

const maxDepth = 200

// element is a start tag; namespaces are left out.
type element struct {
	name  string
	attrs []xml.Attr
}

// attr is the first of the named attributes that is there.
func (e element) attr(names ...string) string {
	for _, name := range names {
		for _, a := range e.attrs {
			if a.Name.Local == name {
				return a.Value
			}
		}
	}
	return ""
}

// visitor is told of elements in their order. path holds the names of the
// element and those around it, outermost first. text is the element's own, cut
// to maxText bytes.
type visitor interface {
	start(path []string, e element)
	end(path []string, text string)
}

// walk reads XML and tells v of it. roots are the names that the first element
// may have. Document types are passed over; an entity that XML doesn't have
// itself is an error.
func walk(in io.Reader, v visitor, roots ...string) error {
	d := xml.NewDecoder(withoutMark(in))
	d.CharsetReader = charset
	w := walker{visitor: v}
	for {
		t, err := d.Token()
		switch {
		case errors.Is(err, io.EOF) && w.seen:
			return nil
		case errors.Is(err, io.EOF):
			return errors.New("the file is empty")
		case err != nil:
			return positioned(d, err)
		}
		if err := w.token(t, roots); err != nil {
			return positioned(d, err)
		}
	}
}

func positioned(d *xml.Decoder, err error) error {
	line, column := d.InputPos()
	if syntax, ok := errors.AsType[*xml.SyntaxError](err); ok {
		err = errors.New(syntax.Msg)
	}
	return fmt.Errorf("%d:%d: %w", line, column, err)
}

type walker struct {
	visitor
	seen  bool
	path  []string
	texts [][]byte
}

func (w *walker) token(t xml.Token, roots []string) error {
	switch t := t.(type) {
	case xml.StartElement:
		if !w.seen && !slices.Contains(roots, t.Name.Local) {
			return fmt.Errorf("%w: want a file that begins with <%s>, have <%s>", errForeign, strings.Join(roots, "> or <"), cut(t.Name.Local, maxName))
		}
		if len(w.path) == maxDepth {
			return fmt.Errorf("elements are nested more than %d deep", maxDepth)
		}
		w.seen = true
		w.path = append(w.path, t.Name.Local)
		w.texts = append(w.texts, nil)
		w.start(w.path, element{t.Name.Local, t.Attr})
	case xml.EndElement:
		last := len(w.path) - 1
		w.end(w.path, string(w.texts[last]))
		w.path, w.texts = w.path[:last], w.texts[:last]
	case xml.CharData:
		if len(w.texts) > 0 {
			own := &w.texts[len(w.texts)-1]
			*own = append(*own, t[:min(len(t), maxText-len(*own))]...)
		}
	}
	return nil
}

// charset decodes what an XML declaration names. UTF-16 has been decoded by
// then, by its byte order mark.
func charset(label string, in io.Reader) (io.Reader, error) {
	if strings.HasPrefix(strings.ToLower(label), "utf-16") {
		return in, nil
	}
	e, err := htmlindex.Get(label)
	if err != nil {
		return nil, fmt.Errorf("encoding %q is not known", cut(label, maxName))
	}
	return e.NewDecoder().Reader(in), nil
}

// parent is the name of the element around the innermost.
func parent(path []string) string {
	if len(path) < 2 {
		return ""
	}
	return path[len(path)-2]
}

// withoutMark leaves out a byte order mark, and decodes UTF-16 that has one.
func withoutMark(in io.Reader) io.Reader {
	return transform.NewReader(in, unicode.BOMOverride(transform.Nop))
}
