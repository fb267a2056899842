package docker

// DataLabel is the value of the label slipway.data.
func DataLabel(e *Engine) string { return e.dataLabel() }
