package cloudcommand

import (
	"errors"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/rolegate/rolegate/internal/wire"
)

// Data is what the platform says of a sync, as [Config.Interpret] reads it.
// What is missing or null is "". The app key that comes with it is not in it.
type Data struct {
	Name    string // what the sync is called: "同步组织用户"
	Message string // how it is: "正在同步数据中...!"
}

// An envelope is BladeX' R, in which answers are wrapped:
//
//	{"code":0,"data":{…},"msg":"","success":true}
//
// A gateway's refusal has no success.
type envelope struct {
	parsed     bool // there is one
	code       int
	hasCode    bool
	success    bool
	hasSuccess bool
	msg        string // as it came: not to be shown before Secrets.Message
	data       []byte // its raw JSON, nil if there is none; part of the answer
}

var envelopeKeys = []string{"code", "data", "msg", "success"}

// ok reports whether the envelope says that the call succeeded. The framework
// has success if and only if the code is 200; the document's example has it
// with code 0.
func (e envelope) ok() bool {
	if e.hasSuccess {
		return e.success
	}
	return e.hasCode && (e.code == 0 || e.code == 200)
}

// parseEnvelope reads a whole answer. Its errors name no more of it than a
// position.
func parseEnvelope(body []byte) (envelope, error) {
	var e envelope
	s := wire.NewScanner()
	s.Strictly(body)
	err := s.Object(envelopeKeys, func(key string, v jsontext.Value) error { return e.set(s, key, v, body) })
	switch {
	case err != nil:
		return envelope{}, err
	case !e.hasCode:
		return envelope{}, errors.New("the envelope has no code")
	}
	e.parsed = true
	return e, nil
}

// set takes the value v of key, which s has just read from body.
func (e *envelope) set(s *wire.Scanner, key string, v jsontext.Value, body []byte) error {
	var ok bool
	switch key {
	case "code":
		n, ok := s.Int(v)
		if !ok || int64(int32(n)) != n {
			return errors.New("code: expected an integer")
		}
		e.code, e.hasCode = int(n), true
	case "success":
		switch v.Kind() {
		case 't', 'f':
			e.success, e.hasSuccess = v.Kind() == 't', true
		case 'n':
		default:
			return errors.New("success: expected true or false")
		}
	case "msg":
		if e.msg, ok = s.Text(v); !ok {
			return errors.New("msg: expected a string or null")
		}
	case "data":
		end := s.InputOffset()
		e.data = body[end-int64(len(v)) : end]
	}
	return nil
}

var dataKeys = []string{"name", "ak", "message"}

// parseData reads the data of a check. What the framework writes for an object
// that is null, which may be {}, "" or -1, is one that says nothing. The app key is
// returned even with an error.
func parseData(data []byte) (d Data, appKey string, err error) {
	switch string(data) {
	case "", "null", `""`, "-1":
		return Data{}, "", nil
	}
	if data[0] != '{' {
		return Data{}, "", errors.New("data: expected an object or null")
	}
	s := wire.NewScanner()
	s.Strictly(data)
	err = s.Object(dataKeys, func(key string, v jsontext.Value) error {
		ok := true
		switch key {
		case "name":
			d.Name, ok = s.Text(v)
		case "message":
			d.Message, ok = s.Text(v)
		case "ak":
			if appKey, ok = s.Text(v); !ok {
				appKey = string(v)
			}
		}
		if !ok {
			return fmt.Errorf("%s: expected a string or null", key)
		}
		return nil
	})
	if err != nil {
		return Data{}, appKey, fmt.Errorf("data: %w", err)
	}
	return d, appKey, nil
}
