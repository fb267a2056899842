package pipeline

import "time"

// Service is a container beside a build's, such as a database. It starts
// before the build's commands, only the build and its other services can reach
// it, and it goes when the build goes.
type Service struct {
	Name  string `json:"name"` // its host name on the build's network
	Image string `json:"image"`
	// Command replaces the image's; empty: it is kept. The image's entrypoint
	// stands anyway.
	Command   []string   `json:"command,omitempty"`
	Variables []Variable `json:"variables,omitempty"`
	// Health is a command for the image's sh that succeeds once the service is
	// ready. Without one the service is ready when something listens on Port, or
	// at once if that is 0.
	Health string `json:"health,omitempty"`
	Port   int    `json:"port,omitempty"`
	// ReadyTimeout is how long it may take to become ready; 0 means 1 minute.
	ReadyTimeout time.Duration `json:"ready_timeout,omitempty"`
	Limits       Limits        `json:"limits,omitzero"`
	// Engine says that it is a Docker engine for the build: it has the rights of
	// a privileged build and sees the source, and the build's DOCKER_HOST names it.
	Engine bool `json:"engine,omitempty"`
}
