package pipeline

// ReportItem is an execution of which a forge is to hear, as the outbox hands
// it to one reporter under a lease.
type ReportItem struct {
	Forge        string
	Installation int64 // 0: the forge knows none
	Execution    string
	// Claim tells this claim from other ones and from marks made since. Only the
	// store reads it.
	Claim string
}
