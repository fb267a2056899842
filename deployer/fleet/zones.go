package fleet

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/slipway-ci/slipway/pipeline"
)

// zone is where some instances of a deployment are.
type zone struct {
	name  string
	tally tally
	ended time.Time // the last of its instances
}

// zonesOf are the zones of a deployment's targets in their order; none if it
// knows no zones or goes on whatever fails. The order is that of the group, then that of the names; who
// has no zone comes last (CodeDeploy reference 4.3).
func zonesOf(d pipeline.Deployment) ([]zone, error) {
	if d.Zones == nil || d.KeepGoing {
		return nil, nil
	}
	config := Config{"", hostCount, 0}
	if d.Zones.MinimumHealthy != "" {
		var err error
		if config, err = ParseConfig("", d.Zones.MinimumHealthy); err != nil {
			return nil, fmt.Errorf("zones.%w", err)
		}
	}
	members := map[string][]pipeline.Instance{}
	for _, in := range d.Instances {
		name := in.Tags[d.Zones.Tag]
		members[name] = append(members[name], in)
	}
	var zones []zone
	for name, in := range members {
		z := zone{name: name, tally: count(in, config)}
		for _, i := range in {
			if i.EndedAt.After(z.ended) {
				z.ended = i.EndedAt
			}
		}
		if z.tally.n > 0 {
			zones = append(zones, z)
		}
	}
	place := func(z zone) int {
		if i := slices.Index(d.Zones.Order, z.name); i >= 0 {
			return i
		}
		if z.name == "" {
			return len(d.Zones.Order) + 1
		}
		return len(d.Zones.Order)
	}
	slices.SortFunc(zones, func(a, b zone) int { return cmp.Or(cmp.Compare(place(a), place(b)), cmp.Compare(a.name, b.name)) })
	return zones, nil
}

func (z zone) String() string {
	if z.name == "" {
		return "the hosts without a zone"
	}
	return "the zone " + z.name
}

// fullZone says which zone has no room for any instance to be away, or "".
func (s *step) fullZone() string {
	for _, z := range s.zones {
		if z.tally.minimum >= z.tally.n {
			return fmt.Sprintf("of %d instances in %s %d must stay healthy, so none could be deployed to", z.tally.n, z, z.tally.minimum)
		}
	}
	return ""
}

// failedZone says which zone has lost as many instances as may be away and has
// others to come, or "". So the last one of a zone may fail, as that of a
// deployment may.
func (s *step) failedZone() string {
	s.recount()
	for _, z := range s.zones {
		t := z.tally
		if t.waiting > 0 && t.failed >= t.capacity() {
			return fmt.Sprintf("in %s %d must stay healthy", z, t.minimum)
		}
	}
	return ""
}

// recount brings the zones up to date. Their configuration was valid before.
func (s *step) recount() {
	if zones, err := zonesOf(s.d); err == nil {
		s.zones = zones
	}
}

// room is which zone's instances may start now, and how many of them.
type room struct {
	all  bool // the deployment knows no zones
	tag  string
	zone *zone // nil: none may
}

// room is in the first zone that isn't done, once the one before has been
// watched for long enough.
func (s *step) room() room {
	s.recount()
	if s.zones == nil {
		return room{all: true}
	}
	var since time.Time
	for i := range s.zones {
		z := &s.zones[i]
		if z.tally.waiting+z.tally.running == 0 {
			if z.ended.After(since) {
				since = z.ended
			}
			continue
		}
		pause := s.d.Zones.Monitor
		switch {
		case i == 0:
			pause = 0
		case i == 1 && s.d.Zones.FirstMonitor > 0:
			pause = s.d.Zones.FirstMonitor
		}
		if s.at.Before(since.Add(pause)) {
			break
		}
		return room{tag: s.d.Zones.Tag, zone: z}
	}
	return room{}
}

// takes reports whether the instance may start, and counts it if so.
func (r room) takes(in pipeline.Instance) bool {
	switch {
	case r.all:
		return true
	case r.zone == nil, in.Tags[r.tag] != r.zone.name:
		return false
	}
	t := &r.zone.tally
	if t.running+t.failed >= t.capacity() {
		return false
	}
	t.running++
	t.waiting--
	return true
}
