package docker

// DataLabel is the value of the label slipway.data.
func DataLabel(e *Engine) string { return e.dataLabel() }

// LabelOf is the value of that label for a data folder.
var LabelOf = labelOf
