package rolegatetest

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Defaults of a [CloudCommandConfig].
const (
	DefaultClientID     = "test-client"
	DefaultClientSecret = "fakeClientSecretForTestsOnly"
	DefaultUsername     = "test-user"
	DefaultPassword     = "fakePasswordForTestsOnly"
	DefaultTenantID     = "000000"
	DefaultCheckPath    = "/api/blade-external/checkSyncData"
	DefaultTokenPath    = "/oauth/token"
	DefaultTokenLife    = time.Hour
)

// What a [CloudCommand] says of a sync unless it is told otherwise.
const (
	// RunningMessage is the text of the document's example.
	RunningMessage = "正在同步数据中...!"

	// DoneMessage is made up: which text the platform has is not documented.
	DoneMessage = "同步数据完成"
)

// AppKey is the `ak` in the answers of a [CloudCommand]: a secret that clients
// are given and have no use for.
const AppKey = "qz_zhdt-fakeAppKeyForTestsOnly"

// A Refusal is how a [CloudCommand] refuses credentials at the address of the
// state. The zero value is [RefuseHTTP].
type Refusal int

const (
	// RefuseHTTP is HTTP 401 with the envelope.
	RefuseHTTP Refusal = iota

	// RefuseBare is HTTP 401 with an envelope that has no success in it, as a
	// gateway writes it.
	RefuseBare

	// RefuseInBody is code 401 in the envelope of an HTTP 200.
	RefuseInBody
)

// A CloudCommandConfig says what kind of platform a fake is. Its zero value is
// one with the defaults below, which answers for tokens like BladeX.
type CloudCommandConfig struct {
	_ struct{} // no unkeyed literals: fields will be added

	// ClientID and ClientSecret are the Basic credentials that are accepted;
	// "" are [DefaultClientID] and [DefaultClientSecret].
	ClientID, ClientSecret string

	// Username and Password are what the password grant accepts; "" are
	// [DefaultUsername] and [DefaultPassword]. The client credentials grant
	// needs neither.
	Username, Password string

	// TenantID is the tenant that is accepted; "" is [DefaultTenantID].
	TenantID string

	// Path is where the state is served, and TokenPath where tokens are; ""
	// are [DefaultCheckPath] and [DefaultTokenPath].
	Path, TokenPath string

	// Camel makes the answers for tokens those of SpringBlade: camelCase
	// inside the envelope. Otherwise they are flat, as OAuth has them.
	Camel bool

	// TokenLife is how long an access token is accepted; 0 is
	// [DefaultTokenLife]. Below 0: for ever, and the answer says nothing of it.
	TokenLife time.Duration

	// TextNumbers spells the life of a token as a JSON string.
	TextNumbers bool

	// NoRefresh gives no refresh tokens. Otherwise each can be used once.
	NoRefresh bool

	// Refusal is how credentials are refused.
	Refusal Refusal

	// SuccessCode is the code of a state that could be told: 0 in the
	// document's example, 200 in the framework.
	SuccessCode int

	// Latency is how long a request is under way before it is looked at. 0 or
	// less: not at all.
	Latency time.Duration
}

// A CloudCommand is a fake of 云上指挥 (cloud command): it gives out tokens and
// says how a sync of organisations and users is, as an [http.Handler].
//
// Like a [Marketplace] it is strict: another path is 404, another method 405, a
// header that is absent or repeated is refused, and so is an access token that
// has expired. It says the same of every sync id, and at first that it knows
// nothing.
//
// All methods may be used at once from any goroutines. The zero CloudCommand is
// not usable: call [NewCloudCommand].
type CloudCommand struct {
	cfg CloudCommandConfig // as completed by NewCloudCommand, never changed after

	mu     sync.Mutex
	data   string               // of the state
	access map[string]time.Time // until when each is accepted, zero for ever
	fresh  map[string]bool      // the refresh tokens
	issued int

	faults faults[CloudRequest]
	log    requestLog[CloudRequest]
}

// NewCloudCommand returns a platform that knows nothing of a sync. It serves
// nothing yet: see [CloudCommand.Start], [CloudCommand.Listen] and
// [CloudCommand.Transport].
func NewCloudCommand(cfg CloudCommandConfig) *CloudCommand {
	for _, d := range []struct {
		field *string
		value string
	}{
		{&cfg.ClientID, DefaultClientID},
		{&cfg.ClientSecret, DefaultClientSecret},
		{&cfg.Username, DefaultUsername},
		{&cfg.Password, DefaultPassword},
		{&cfg.TenantID, DefaultTenantID},
		{&cfg.Path, DefaultCheckPath},
		{&cfg.TokenPath, DefaultTokenPath},
	} {
		if *d.field == "" {
			*d.field = d.value
		}
	}
	cfg.Path = "/" + strings.TrimPrefix(cfg.Path, "/")
	cfg.TokenPath = "/" + strings.TrimPrefix(cfg.TokenPath, "/")
	if cfg.TokenLife == 0 {
		cfg.TokenLife = DefaultTokenLife
	}
	return &CloudCommand{cfg: cfg, data: "{}", access: make(map[string]time.Time), fresh: make(map[string]bool)}
}

// ClientID returns the client id that is accepted.
func (c *CloudCommand) ClientID() string { return c.cfg.ClientID }

// ClientSecret returns the client secret that is accepted.
func (c *CloudCommand) ClientSecret() string { return c.cfg.ClientSecret }

// Username returns the user name that the password grant accepts.
func (c *CloudCommand) Username() string { return c.cfg.Username }

// Password returns the password that the password grant accepts.
func (c *CloudCommand) Password() string { return c.cfg.Password }

// Running makes a sync run, with this message; "" is [RunningMessage].
func (c *CloudCommand) Running(message string) {
	if message == "" {
		message = RunningMessage
	}
	c.say(message)
}

// Done makes the sync done, with this message; "" is [DoneMessage].
func (c *CloudCommand) Done(message string) {
	if message == "" {
		message = DoneMessage
	}
	c.say(message)
}

// Unknown makes the platform know nothing of a sync: its data is {}.
func (c *CloudCommand) Unknown() { c.SetData("{}") }

// say sets the message of the state.
func (c *CloudCommand) say(message string) {
	b := appendString([]byte(`{"name":"同步组织用户","ak":"`+AppKey+`","message":`), message)
	c.SetData(string(append(b, '}')))
}

// SetData sets the data of the state as JSON, as it stands.
func (c *CloudCommand) SetData(json string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.data = json
}

// ServeHTTP answers one request: after the latency, and through the fault that
// is set, if any. It returns without an answer when the request's context ends
// first.
func (c *CloudCommand) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	req := c.newRequest(r)
	number := c.log.begin(req, req.AsksForToken())
	fault := c.faults.pick(req)

	a := &answer{ResponseWriter: w}
	defer func() { // also when a fault aborts
		c.log.finish(number, func(r *CloudRequest) { r.Status = a.status })
	}()
	if wait(r.Context(), c.cfg.Latency) != nil {
		return
	}
	normal := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case c.cfg.TokenPath:
			c.serveToken(w, r)
		case c.cfg.Path:
			c.serveState(w, r)
		default:
			writeR(w, http.StatusNotFound, 404, "请求的地址不存在")
		}
	})
	if fault == nil {
		normal.ServeHTTP(a, r)
	} else {
		fault(a, r, normal)
	}
}

// serveState answers how the sync is.
func (c *CloudCommand) serveState(w http.ResponseWriter, r *http.Request) {
	req := c.newRequest(r)
	c.mu.Lock()
	data := c.data
	c.mu.Unlock()
	switch {
	case r.Method != http.MethodGet:
		w.Header().Set("Allow", http.MethodGet)
		writeR(w, http.StatusMethodNotAllowed, 405, "请求方式不支持")
	case !req.ClientOK || !req.TokenOK || spoiltBy(r).refuse:
		c.refuse(w)
	case req.SyncID < 0:
		writeR(w, http.StatusOK, 400, "id 参数错误")
	default:
		writeJSON(w, http.StatusOK, []byte(`{"code":`+strconv.Itoa(c.cfg.SuccessCode)+`,"data":`+data+`,"msg":"","success":true}`))
	}
}

func (c *CloudCommand) refuse(w http.ResponseWriter) {
	switch c.cfg.Refusal {
	case RefuseBare:
		writeJSON(w, http.StatusUnauthorized, []byte(`{"code":401,"msg":"请求未授权","data":null}`))
	case RefuseInBody:
		writeR(w, http.StatusOK, 401, "请求未授权")
	default:
		writeR(w, http.StatusUnauthorized, 401, "请求未授权")
	}
}

// writeR answers with the envelope of a failure.
func writeR(w http.ResponseWriter, status, code int, msg string) {
	b := strconv.AppendInt([]byte(`{"code":`), int64(code), 10)
	b = appendString(append(b, `,"data":null,"success":false,"msg":`...), msg)
	writeJSON(w, status, append(b, '}'))
}

// ErrorR answers HTTP 200 with the envelope of a [CloudCommand] that says that
// the call failed.
func ErrorR(code int, msg string) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		writeR(w, http.StatusOK, code, msg)
	}
}
