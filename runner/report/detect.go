package report

import (
	"bytes"
	"encoding/xml"
	"path"
	"strings"

	"github.com/slipway-ci/slipway/runner/buildspec"
)

// HeadBytes is how much of a file's beginning tells its format.
const HeadBytes = 8 << 10

// MayBe reports whether a file of that name may be a report of any format.
func MayBe(name string) bool {
	switch strings.ToLower(path.Ext(name)) {
	case ".json", ".xml", ".trx":
		return true
	}
	return false
}

// Detect is the format of a report file by its name and its first HeadBytes;
// ok is false for a file that is none. What it takes for a report may still turn
// out to be something else when it is read.
func Detect(name string, head []byte) (format buildspec.Format, ok bool) {
	switch strings.ToLower(path.Ext(name)) {
	case ".json":
		return detectJSON(name, head)
	case ".xml", ".trx":
		return detectXML(head)
	}
	return "", false
}

// detectJSON goes by what the first member of each format's files is called.
func detectJSON(name string, head []byte) (buildspec.Format, bool) {
	head = bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\xef\xbb\xbf")), " \t\r\n")
	has := func(member string) bool { return bytes.Contains(head, []byte(`"`+member+`"`)) }
	switch base := path.Base(name); {
	case bytes.HasPrefix(head, []byte("[")) && has("keyword") && (has("elements") || has("uri")):
		return buildspec.CucumberJSON, true
	case bytes.HasPrefix(head, []byte("{")) && has("coverage") && (base == ".resultset.json" || strings.Contains(base, "coverage")):
		return buildspec.SimpleCov, true
	}
	return "", false
}

// detectXML goes by the first element.
func detectXML(head []byte) (buildspec.Format, bool) {
	d := xml.NewDecoder(withoutMark(bytes.NewReader(head)))
	d.CharsetReader = charset
	for {
		t, err := d.Token()
		if err != nil {
			return "", false
		}
		start, ok := t.(xml.StartElement)
		if !ok {
			continue
		}
		root := element{start.Name.Local, start.Attr}
		switch root.name {
		case "testsuites", "testsuite":
			return buildspec.JUnitXML, true
		case "test-results":
			return buildspec.NUnitXML, true
		case "test-run":
			return buildspec.NUnit3XML, true
		case "testng-results":
			return buildspec.TestNGXML, true
		case "TestRun":
			return buildspec.VisualStudioTRX, true
		case "report": // of JaCoCo, which has a name and a document type of its own
			return buildspec.JaCoCoXML, bytes.Contains(head, []byte("jacoco")) || bytes.Contains(head, []byte("<sessioninfo"))
		case "coverage":
			if root.attr("clover", "generated") != "" {
				return buildspec.CloverXML, true
			}
			return buildspec.CoberturaXML, root.attr("line-rate", "lines-valid") != ""
		}
		return "", false
	}
}
