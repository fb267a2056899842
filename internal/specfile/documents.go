package specfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"go.yaml.in/yaml/v4"
)

// MaxDocuments is how many documents ParseAll reads of one file.
const MaxDocuments = 50

// ParseAll reads a file of several YAML documents, which lines --- separate.
// Positions are those in the whole file. Documents with nothing in them are
// left out, but there is always at least one File. What keeps the rest of the
// file from being read is a problem of the last one, whose Root is nil.
func ParseAll(data []byte, options Options) []*File {
	if options.MaxBytes == 0 {
		options.MaxBytes = DefaultMaxBytes
	}
	whole := &File{options: options}
	if whole.tooLarge(data) {
		return []*File{whole}
	}
	data, ok := whole.read(data)
	if !ok {
		return []*File{whole}
	}
	loader, err := yaml.NewLoader(bytes.NewReader(data))
	if err != nil {
		whole.syntax(err)
		return []*File{whole}
	}
	return whole.documents(loader)
}

// documents reads what the loader has, each document as a File of its own.
func (f *File) documents(loader *yaml.Loader) []*File {
	var all []*File
	for {
		var root yaml.Node
		doc := &File{options: f.options, lines: f.lines, pairs: f.pairs}
		err := loader.Load(&root)
		switch {
		case errors.Is(err, io.EOF) && len(all) > 0:
			return all
		case errors.Is(err, io.EOF):
			doc.add(Problem{1, 1, Error, CodeEmpty, "the file is empty: want a map", ""})
			return []*File{doc}
		case err != nil:
			doc.syntax(err)
			return append(all, doc)
		case len(root.Content) == 0 || IsNull(root.Content[0]):
			continue
		case len(all) == MaxDocuments:
			doc.add(Problem{root.Line, root.Column, Error, CodeLimit, fmt.Sprintf("the file has more than %d documents", MaxDocuments), ""})
			return append(all, doc)
		}
		doc.Root = doc.top(&root)
		all = append(all, doc)
	}
}
