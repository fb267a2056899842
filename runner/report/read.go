package report

import (
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/slipway-ci/slipway/runner/buildspec"
)

var (
	errTooLong = errors.New("the file is too long")
	errForeign = errors.New("not the format")
)

// Read adds one file. What was read before a mistake stays, and the mistake
// becomes a problem of the report; the result is it too, with its position.
func (r *Reader) Read(name string, in io.Reader) error {
	return r.read(name, in, false)
}

// ReadFound is Read for a file that a pattern found: of another format, it is
// passed over, and taken is false.
func (r *Reader) ReadFound(name string, in io.Reader) (taken bool, err error) {
	if !r.fits(name) {
		return false, nil
	}
	err = r.read(name, in, true)
	if errors.Is(err, errForeign) {
		return false, nil
	}
	return true, err
}

// fits says whether a file of that name may be of the format.
func (r *Reader) fits(name string) bool {
	switch ext := strings.ToLower(path.Ext(name)); r.format {
	case buildspec.CucumberJSON, buildspec.SimpleCov:
		return ext == ".json"
	default:
		return ext == ".xml" || ext == ".trx"
	}
}

func (r *Reader) read(name string, in io.Reader, found bool) error {
	r.from = r.text(name, maxName)
	if r.report.Files == r.options.Files {
		err := fmt.Errorf("%s: more than %d files, the rest is left out", r.from, r.options.Files)
		r.Problem(err.Error())
		return err
	}
	limited := &bounded{in: in, left: r.options.FileBytes}
	err := r.parse(limited)
	if limited.over {
		err = fmt.Errorf("%w: want at most %d bytes", errTooLong, r.options.FileBytes)
	}
	if found && errors.Is(err, errForeign) {
		return err
	}
	r.report.Files++
	if err != nil {
		err = fmt.Errorf("%s: %w", r.from, err)
		r.Problem(err.Error())
	}
	return err
}

func (r *Reader) parse(in io.Reader) error {
	switch r.format {
	case buildspec.JUnitXML:
		return walk(in, &junit{single{Reader: r}}, "testsuites", "testsuite")
	case buildspec.NUnitXML, buildspec.NUnit3XML:
		return walk(in, &nunit{single{Reader: r}}, "test-results", "test-run")
	case buildspec.TestNGXML:
		return walk(in, &testng{single: single{Reader: r}}, "testng-results")
	case buildspec.VisualStudioTRX:
		return walk(in, &trx{Reader: r}, "TestRun")
	case buildspec.CloverXML:
		return walk(in, &clover{Reader: r}, "coverage")
	case buildspec.CoberturaXML:
		return walk(in, &cobertura{Reader: r}, "coverage")
	case buildspec.JaCoCoXML:
		return walk(in, &jacoco{Reader: r}, "report")
	case buildspec.CucumberJSON:
		return r.cucumber(withoutMark(in))
	case buildspec.SimpleCov:
		return r.simplecov(withoutMark(in))
	}
	return fmt.Errorf("format %q is not known", r.format)
}

// bounded reads at most left bytes and knows whether there was more.
type bounded struct {
	in   io.Reader
	left int64
	over bool
}

// Read fails with errTooLong behind the limit.
func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		var one [1]byte
		if n, err := b.in.Read(one[:]); n == 0 {
			return 0, err
		}
		b.over = true
		return 0, errTooLong
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.in.Read(p)
	b.left -= int64(n)
	return n, err
}
