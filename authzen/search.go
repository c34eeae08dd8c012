package authzen

import "net/http"

// An action is one of the results of a search.
type action struct {
	Name string `json:"name"`
}

// ActionSearch serves the action search endpoint (§8.6): which of the rules'
// actions the subject may do on the resource, in the order of the rules. It is
// mounted as Evaluation is. All results are on one page.
func (p *PDP) ActionSearch(w http.ResponseWriter, r *http.Request) {
	p.answer(w, r, func(body []byte) (any, error) {
		q, err := readSearch(body)
		if err != nil {
			return nil, err
		}
		e := p.evaluation(r.Context())
		defer e.log()
		found := []action{}
		for _, name := range p.actions[q.resource.kind] {
			q.action = &name
			if e.decide(q).Decision {
				found = append(found, action{name})
			}
		}
		return struct {
			Results []action `json:"results"`
		}{found}, nil
	})
}
