package cloudcommand

import "time"

// Sent is what a token that was read is made into.
type Sent struct {
	Header, Refresh string
	Usable          time.Duration // 0 if that is not known
}

// DecodeToken decodes an answer as a Client does that asked at the time 0.
func DecodeToken(body []byte) (Sent, error) {
	a, err := parseTokenAnswer(body)
	if err != nil {
		return Sent{}, err
	}
	tok, err := a.token(time.Unix(0, 0))
	if err != nil {
		return Sent{}, err
	}
	s := Sent{Header: tok.kind + " " + tok.access, Refresh: tok.refresh}
	if !tok.renew.IsZero() {
		s.Usable = tok.renew.Sub(time.Unix(0, 0))
	}
	return s, nil
}

// DecodeState decodes an answer as a Client does.
func DecodeState(body []byte) (d Data, appKey string, ok bool, err error) {
	e, err := parseEnvelope(body)
	if err != nil {
		return Data{}, "", false, err
	}
	d, appKey, err = parseData(e.data)
	return d, appKey, e.ok(), err
}
