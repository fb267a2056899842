package deployer

import (
	"context"
	"fmt"
	"os"
)

func Example() {
	root, _ := os.MkdirTemp("", "slipway")
	defer os.RemoveAll(root)
	_ = os.MkdirAll(root+"/revision", 0o755)
	_ = os.WriteFile(root+"/revision/appspec.yml", []byte("version: 0.0\nos: linux\nfiles:\n  - {source: page.html, destination: /srv}\n"), 0o644)
	_ = os.WriteFile(root+"/revision/page.html", []byte("hello"), 0o644)
	d, err := New(Options{Root: root + "/state", TargetRoot: root + "/host"})
	if err != nil {
		fmt.Println(err)
		return
	}
	r, err := d.Apply(context.Background(), Deployment{ID: "d-1", Application: "shop", Group: "production", Revision: root + "/revision"}, nil)
	page, _ := os.ReadFile(root + "/host/srv/page.html")
	fmt.Println(r.Status, err, string(page))
	// Output: Succeeded <nil> hello
}
