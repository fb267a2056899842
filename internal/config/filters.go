package config

import "github.com/slipway-ci/slipway/pipeline"

// Filter is one filter of a project's filter groups, in CodeBuild's words.
type Filter struct {
	Type                  string `yaml:"type"`
	Pattern               string `yaml:"pattern"`
	ExcludeMatchedPattern bool   `yaml:"exclude_matched_pattern"`
}

// Groups are the filter groups as they are evaluated.
func (p Project) Groups() pipeline.FilterGroups {
	var groups pipeline.FilterGroups
	for _, g := range p.FilterGroups {
		var group []pipeline.EventFilter
		for _, f := range g {
			group = append(group, pipeline.EventFilter{Type: f.Type, Pattern: f.Pattern, Exclude: f.ExcludeMatchedPattern})
		}
		groups = append(groups, group)
	}
	return groups
}
