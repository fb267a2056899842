package pipeline

// Removal is what one pass of retention removed from the blob store, or would
// remove if it is only a trial.
type Removal struct {
	Trial     bool    `json:"trial"`
	Logs      Removed `json:"logs"`
	Artifacts Removed `json:"artifacts"`
	Bodies    Removed `json:"bodies"` // of large deliveries
}

// Removed is what one kind of objects took. Bytes are as kept: compressed,
// encrypted.
type Removed struct {
	Count int   `json:"count"`
	Bytes int64 `json:"bytes"`
	// Spared are old ones that stay, since the last good execution or
	// deployment, or one that still runs, names them.
	Spared int `json:"spared,omitempty"`
}
