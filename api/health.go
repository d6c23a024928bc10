package api

import "net/http"

// livez answers as long as the process serves requests at all.
func (a *Admin) livez(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Write([]byte("ok\n"))
}

// healthReport is the body of /readyz and /healthz.
type healthReport struct {
	Status     Condition   `json:"status"`
	Components []Component `json:"components"`
}

// report sums the components up: unavailable if a critical one is, else degraded
// if any is less than available.
func (a *Admin) report() healthReport {
	out := healthReport{Status: Available, Components: []Component{}}
	if a.o.Health == nil {
		return out
	}
	for _, c := range a.o.Health.Components() {
		out.Components = append(out.Components, c)
		switch {
		case c.Critical && c.State == Unavailable:
			out.Status = Unavailable
		case c.State != Available && out.Status == Available:
			out.Status = Degraded
		}
	}
	return out
}

// readyz tells whether the node should get traffic and, if not, why.
func (a *Admin) readyz(w http.ResponseWriter) {
	r := a.report()
	if r.Status != Unavailable {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Write([]byte("ok\n"))
		return
	}
	kept := r.Components[:0]
	for _, c := range r.Components {
		if c.Critical && c.State == Unavailable {
			kept = append(kept, c)
		}
	}
	r.Components = kept
	w.Header().Set("Content-Type", jsonType)
	w.WriteHeader(http.StatusServiceUnavailable)
	w.Write(marshal(r))
}

// healthz shows every component.
func (a *Admin) healthz(w http.ResponseWriter) {
	r := a.report()
	w.Header().Set("Content-Type", jsonType)
	if r.Status == Unavailable {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	w.Write(marshal(r))
}
