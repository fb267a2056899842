// Package fleet holds the pure rules of one deployment over the instances of
// its group: who belongs to it, who may start when, when it has failed, and
// whether it is rolled back (CodeDeploy reference, sections 4 and 5).
package fleet

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// The predefined deployment configurations.
const (
	AllAtOnce   = "CodeDeployDefault.AllAtOnce"
	HalfAtATime = "CodeDeployDefault.HalfAtATime"
	OneAtATime  = "CodeDeployDefault.OneAtATime"
)

// kind is how a configuration counts.
type kind int

const (
	hostCount kind = iota // so many stay healthy
	percent               // so many of a hundred stay healthy
	atATime               // MOST_CONCURRENCY: so many at a time
)

// Config is a deployment configuration: how many instances must stay healthy.
type Config struct {
	name  string
	kind  kind
	value int
}

// customName is what a configuration of one's own may be called.
var customName = regexp.MustCompile(`^[A-Za-z0-9._+=,@-]{1,100}$`)

// ParseConfig reads a configuration's name and, for one of one's own, the
// minimum of healthy hosts: a number of hosts, or a percentage such as 75%.
// Both empty mean OneAtATime; a minimum alone is a configuration without a
// name. The predefined names may be shortened, as in AllAtOnce.
func ParseConfig(name, minimum string) (Config, error) {
	if minimum == "" {
		return predefined(name)
	}
	switch {
	case name == "":
		name = "custom"
	case !customName.MatchString(name):
		return Config{}, fmt.Errorf("config: want up to 100 letters, digits and ._+=,@-, have %q", name)
	}
	if _, err := predefined(name); err == nil || strings.HasPrefix(name, "CodeDeployDefault.") {
		return Config{}, fmt.Errorf("config: %s has a minimum of its own; leave minimum_healthy_hosts out or name it differently", name)
	}
	digits, isPercent := strings.CutSuffix(minimum, "%")
	n, err := strconv.Atoi(digits)
	switch {
	case err != nil || n < 0 || digits[0] == '+':
		return Config{}, fmt.Errorf("minimum_healthy_hosts: want a number of hosts or a percentage such as 75%%, have %q", minimum)
	case isPercent && n > 99:
		return Config{}, fmt.Errorf("minimum_healthy_hosts: want at most 99%%, have %q", minimum)
	case isPercent:
		return Config{name, percent, n}, nil
	}
	return Config{name, hostCount, n}, nil
}

func predefined(name string) (Config, error) {
	switch strings.TrimPrefix(name, "CodeDeployDefault.") {
	case "AllAtOnce":
		return Config{AllAtOnce, hostCount, 0}, nil
	case "HalfAtATime":
		return Config{HalfAtATime, percent, 50}, nil
	case "OneAtATime", "":
		return Config{OneAtATime, atATime, 1}, nil
	}
	return Config{}, fmt.Errorf("config: %q is neither CodeDeployDefault.AllAtOnce, HalfAtATime nor OneAtATime; one of your own needs minimum_healthy_hosts", name)
}

// Name is the configuration's full name.
func (c Config) Name() string { return c.name }

// Minimum is how many of n instances must stay healthy. Predefined
// configurations leave room for at least one instance at a time (CodeDeploy
// reference 4.2).
func (c Config) Minimum(n int) int {
	m := 0
	switch c.kind {
	case hostCount:
		m = c.value
	case percent:
		m = (n*c.value + 99) / 100
	case atATime:
		m = max(n-c.value, 0)
	}
	if strings.HasPrefix(c.name, "CodeDeployDefault.") {
		m = min(m, max(n-1, 0))
	}
	return m
}
