package handlers

// AddressOf is addressOf.
var AddressOf = addressOf

// Routes are all routes that the server has, as METHOD PATH.
func (s *Server) Routes() []string {
	var out []string
	for _, r := range s.engine.Routes() {
		out = append(out, r.Method+" "+r.Path)
	}
	return out
}

// RightOf is what the table says of a route; known is false if it isn't in the
// table and no worker's.
func RightOf(method, path string) (about, least string, known bool) {
	_, known = rights[method+" "+path]
	r := ruleOf(method, path)
	return string(r.about), string(r.least), known || r.about == workerOwn
}

// Levels are the levels of the API's routes: what each asks of its sender.
func (s *Server) Levels() map[string]string {
	names := map[level]string{open: "open", reading: "reading", writing: "writing", working: "working"}
	out := map[string]string{}
	for _, r := range s.api() {
		out[r.method+" "+apiRoot+ginPath(r.path)] = names[r.need]
	}
	return out
}
