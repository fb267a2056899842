package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/pipeline"
)

func TestFetchOrders(t *testing.T) {
	o := shopOrders()
	o.cfg.Projects[0].Sources = []string{"github/octo/config", "github/elsewhere/*", "s3://cfg-*/**", "https://git.example.com/**"}
	o.cfg.Buckets = map[string]string{"cfg-here": "s3://cfg-here?endpoint=http://127.0.0.1:9000"}
	repository := func(name, branch string) pipeline.Action {
		return pipeline.Action{Name: "c", Category: pipeline.Source, Provider: pipeline.RepositoryProvider,
			Configuration: map[string]string{pipeline.ConfigRepository: name, pipeline.ConfigBranch: branch}}
	}
	object := func(bucket string) pipeline.Action {
		return pipeline.Action{Name: "c", Category: pipeline.Source, Provider: pipeline.S3Provider,
			Configuration: map[string]string{pipeline.ConfigBucket: bucket, pipeline.ConfigObjectKey: "a/b.zip"}}
	}
	from := func(r forge.Repo) *pipeline.SourceOrder { return &pipeline.SourceOrder{Repo: r, URL: r.CloneURL} }
	tests := []struct {
		name     string
		action   pipeline.Action
		stranger bool
		want     *pipeline.FetchOrder
		err      string
	}{
		{"another repository", repository("octo/config", "live"), false, &pipeline.FetchOrder{Name: "c", Branch: "live",
			Source: from(forge.Repo{Forge: "github", Owner: "octo", Name: "config", CloneURL: "https://github.com/octo/config.git"})}, ""},
		{"another owner's", repository("elsewhere/lib", ""), false, &pipeline.FetchOrder{Name: "c",
			Source: from(forge.Repo{Forge: "github", Owner: "elsewhere", Name: "lib", CloneURL: "https://github.com/elsewhere/lib.git"})}, ""},
		{"a public repository anywhere", pipeline.Action{Name: "c", Category: pipeline.Source, Provider: pipeline.RepositoryProvider,
			Configuration: map[string]string{pipeline.ConfigCloneURL: "https://git.example.com/a/b.git"}}, false, &pipeline.FetchOrder{Name: "c",
			Source: from(forge.Repo{Forge: "git", Owner: "git.example.com", Name: "a/b", CloneURL: "https://git.example.com/a/b.git"})}, ""},
		{"an object", object("cfg-there"), false, &pipeline.FetchOrder{Name: "c", Bucket: "cfg-there", Key: "a/b.zip", Address: "s3://cfg-there"}, ""},
		{"a bucket of one's own", object("cfg-here"), false, &pipeline.FetchOrder{Name: "c", Bucket: "cfg-here", Key: "a/b.zip", Address: "s3://cfg-here?endpoint=http://127.0.0.1:9000"}, ""},
		{"a repository that no project lists", repository("octo/payroll", ""), false, nil, "the server lets no project of octo/shop take in github/octo/payroll"},
		{"a bucket that no project lists", object("secrets"), false, nil, "the server lets no project of octo/shop take in s3://secrets/a/b.zip"},
		{"for a stranger's code", repository("octo/config", ""), true, nil, "the code of strangers gets no sources beside its repository: github/octo/config"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x := shop(tt.action)
			x.Repo.CloneURL = "https://github.com/Octo/shop.git"
			j := jobOf("c")
			j.Trusted = !tt.stranger
			got, err := o.Fetch(t.Context(), j, x)
			if tt.err != "" {
				if err == nil || err.Error() != tt.err {
					t.Errorf("got %v, want %s", err, tt.err)
				}
				return
			}
			if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
				t.Errorf("%v (-want +got)\n%s", err, diff)
			}
		})
	}
}
