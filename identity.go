package rolegate

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/rolegate/rolegate/internal/digest"
	"github.com/rolegate/rolegate/internal/ids"
	"github.com/rolegate/rolegate/internal/index"
	"github.com/rolegate/rolegate/internal/peer"
)

// A Kind is a kind of identity: which of a user's names an [Identity] is.
type Kind uint8

// The kinds of identity. A value of one kind never matches one of another.
const (
	KindUserID       Kind = iota + 1 // the marketplace's number of the user
	KindAccount                      // their login account at the marketplace
	KindEmail                        // their e-mail address
	KindThirdAccount                 // the app's own account that the marketplace has bound to them (thirdAccount)
	KindThirdUserID                  // the app's own user id that the marketplace has bound to them (thirdUserId)
	kinds
)

var kindNames = [kinds]string{"nobody", "user_id", "account", "email", "third_account", "third_user_id"}

// String returns the kind as logs and [Status] name it.
func (k Kind) String() string {
	if k < kinds {
		return kindNames[k]
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// MarshalText implements encoding.TextMarshaler, so that a Kind can be the key
// of a JSON object.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// field is the string of a record that an alias of this kind is.
func (k Kind) field() index.Field { return index.Field(k - KindAccount) }

// ParseKind returns the kind with that name, as String has it, and 0 if there is
// none.
func ParseKind(name string) Kind {
	for k := KindUserID; k < kinds; k++ {
		if kindNames[k] == name {
			return k
		}
	}
	return 0
}

// NewIdentity returns the identity of that kind. A text is taken as it is; a user
// id must be a canonical decimal above 0, and for a number there is [UserID]. An
// error says what was expected.
func NewIdentity(kind Kind, text string) (Identity, error) {
	switch {
	case kind == KindUserID:
		id, err := ids.Parse(text)
		if err != nil {
			return Identity{}, fmt.Errorf("rolegate: not a user id: %w", err)
		}
		return UserID(id), nil
	case kind > KindUserID && kind < kinds:
		return Identity{kind: kind, text: text}, nil
	}
	return Identity{}, errors.New("rolegate: expected a kind of identity: user_id, account, email, third_account or third_user_id")
}

// A kindSet has a bit for each kind.
type kindSet uint8

func (s kindSet) has(k Kind) bool { return s&(1<<k) != 0 }

// fields are the strings that aliases of these kinds are.
func (s kindSet) fields() index.FieldSet { return index.FieldSet(s >> KindAccount) }

// An Identity says who is asking, as the app knows them. The zero Identity is
// nobody; so are a user id that is not above 0 and an empty text. Texts are
// compared byte for byte: no case folding, no trimming.
type Identity struct {
	kind Kind
	id   int64
	text string
}

// UserID is the identity of the user with that number at the marketplace.
func UserID(id int64) Identity { return Identity{kind: KindUserID, id: id} }

// Kind returns what kind of identity it is, 0 for nobody.
func (id Identity) Kind() Kind {
	if id.nobody() {
		return 0
	}
	return id.kind
}

// nobody reports whether the identity names nobody at all.
func (id Identity) nobody() bool {
	switch id.kind {
	case KindUserID:
		return id.id <= 0
	case KindThirdUserID:
		// A number that is not above 0 identifies nobody in this spelling either;
		// platforms write -1 for null.
		return id.text == "" || isNumberNotAboveZero(id.text)
	case KindAccount, KindEmail, KindThirdAccount:
		return id.text == ""
	}
	return true
}

// isNumberNotAboveZero reports whether s is a decimal number, and not above 0.
func isNumberNotAboveZero(s string) bool {
	digits := strings.TrimPrefix(s, "-")
	zero := true
	for _, c := range []byte(digits) {
		if c < '0' || c > '9' {
			return false
		}
		zero = zero && c == '0'
	}
	return digits != "" && (zero || digits != s)
}

// String tells the kind, and the number of a user id. Every other identity is
// personal data and stays untold.
func (id Identity) String() string {
	switch {
	case id.nobody():
		return "nobody"
	case id.kind == KindUserID:
		return "user_id " + strconv.FormatInt(id.id, 10)
	default:
		return id.kind.String() + " (withheld)"
	}
}

// Format implements fmt.Formatter with what String tells, for every verb: fmt
// asks a Stringer only for some of them.
func (id Identity) Format(f fmt.State, verb rune) {
	_, _ = fmt.Fprintf(f, "%s", id.String())
}

// digest names an identity that is personal data in the log and in events; "" for a
// user id, which is there itself, and for nobody.
func (id Identity) digest(k digest.Key) string {
	if id.nobody() {
		return ""
	}
	return k.Of(id.kind.String(), id.text)
}

// GoString keeps %#v from telling what String withholds.
func (id Identity) GoString() string { return id.String() }

// LogValue implements slog.LogValuer with what String tells.
func (id Identity) LogValue() slog.Value { return slog.StringValue(id.String()) }

// ErrNobody is what the func of an [Identifier] returns when nobody is asking:
// there is no session. The answer is 401. Any other error is answered 500.
var ErrNobody = errors.New("rolegate: no identity in the request")

// An Identifier finds out who is asking. Make one with [ByUserID], [ByText]
// or [FirstOf]; the zero Identifier is a mistake that [Open] reports.
//
// Its func is called once for each guarded handler that a request meets, from
// the request's goroutine. It returns [ErrNobody] when nobody is asking; 0, a
// negative id and "" mean the same. A panic in it is recovered, logged, and
// answered 500. An error with a method RetryAfter() time.Duration says that something
// is away for so long, such as a session store: it is answered 503, with Retry-After.
// The text of an error is logged as it is: keep personal data out
// of it.
type Identifier struct {
	identify func(*http.Request) (Identity, error)
	kinds    kindSet // that have to be indexed for it: user ids always are
}

// ByUserID is for apps whose session knows the marketplace's number of the
// user: the userId of the authorised-user list, not an id of the app's own.
func ByUserID(f func(*http.Request) (int64, error)) Identifier {
	if f == nil {
		panic("rolegate: ByUserID: the func is nil")
	}
	return Identifier{identify: func(r *http.Request) (Identity, error) {
		id, err := f(r)
		return UserID(id), err
	}}
}

// ByText is for apps that know another name of their users: see the kinds.
// Texts are taken as they are; write a number in decimal. Only an e-mail address
// that the app has verified identifies anybody.
//
// It panics if the kind is [KindUserID], for which there is [ByUserID], or none.
func ByText(kind Kind, f func(*http.Request) (string, error)) Identifier {
	if kind <= KindUserID || kind >= kinds {
		panic("rolegate: ByText: expected KindAccount, KindEmail, KindThirdAccount or KindThirdUserID; for user ids there is ByUserID")
	}
	if f == nil {
		panic("rolegate: ByText: the func is nil")
	}
	return Identifier{kinds: 1 << kind, identify: func(r *http.Request) (Identity, error) {
		text, err := f(r)
		return Identity{kind: kind, text: text}, err
	}}
}

// FirstOf asks one Identifier after the other and takes the first answer that
// is not [ErrNobody]. It moves on for nothing else: not on another error, not
// on an id of 0, and not because a user is not listed. A request with two
// identities is thus decided by the first.
func FirstOf(identifiers ...Identifier) Identifier {
	all := slices.Clone(identifiers)
	var ks kindSet
	for i, id := range all {
		if id.identify == nil {
			panic(fmt.Sprintf("rolegate: FirstOf: argument %d is the zero Identifier: make it with ByUserID or ByText", i+1))
		}
		ks |= id.kinds
	}
	if len(all) == 0 {
		panic("rolegate: FirstOf: give at least one Identifier")
	}
	return Identifier{kinds: ks, identify: func(r *http.Request) (Identity, error) {
		nobody := ErrNobody
		for _, by := range all {
			id, err := by.identify(r)
			if err != nil && errors.Is(err, ErrNobody) && !errors.As(err, new(*peer.UnusableError)) {
				nobody = err // the last is as good a reason as any
				continue
			}
			return id, err
		}
		return Identity{}, nobody
	}}
}

// Loopback returns the networks of the machine itself: what [UserIDHeader] and
// [TextHeader] trust when the proxy runs beside the app.
func Loopback() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
}

// TrustedUnix stands for connections over a Unix socket among trusted networks,
// for a proxy that reaches the app so. Whoever may open the socket is believed: its
// permissions must admit nobody but the proxy.
func TrustedUnix() []netip.Prefix { return []netip.Prefix{peer.Unix} }

// UserIDHeader reads the marketplace's number of the user from a header that a
// proxy in one of the trusted networks has set, for use with [ByUserID]. Only
// canonical decimals count.
//
// The header is believed only if the connection comes from one of the trusted
// networks; from elsewhere, and when empty, it is as if it were not there. It is refused, with
// 401 and without asking the next of a [FirstOf], if it is there twice, if it
// is not what was expected, or if the request's RemoteAddr is not IP:port, as
// the server writes it: then a middleware in front of the gate, such as chi's
// RealIP, has rewritten it from a header that the client may have chosen. A
// middleware that writes an IP:port there cannot be noticed: put the gate in
// front of it. Connections over a Unix socket have no IP: [TrustedUnix] stands for
// them.
//
// The proxy must overwrite the header in every request that it passes on. No
// trusted network, or one that is the whole Internet, is a mistake: it panics.
func UserIDHeader(name string, trusted ...netip.Prefix) func(*http.Request) (int64, error) {
	read := headerReader("UserIDHeader", name, trusted)
	return func(r *http.Request) (int64, error) {
		text, err := read(r)
		if err != nil {
			return 0, err
		}
		id, err := ids.Parse(text)
		if err != nil { // the text itself is the client's, and stays untold
			return 0, &peer.UnusableError{Why: "the header " + name + " is not a decimal number above 0", As: ErrNobody}
		}
		return id, nil
	}
}

// TextHeader reads an account, e-mail address or id from a header that a proxy
// in one of the trusted networks has set, for use with [ByText].
// What [UserIDHeader] says of trust holds here too. The text is taken
// as it is; one with blanks around it or control bytes in it is refused.
func TextHeader(name string, trusted ...netip.Prefix) func(*http.Request) (string, error) {
	return headerReader("TextHeader", name, trusted)
}

func headerReader(caller, name string, trusted []netip.Prefix) func(*http.Request) (string, error) {
	if !httpguts.ValidHeaderFieldName(name) {
		panic(fmt.Sprintf("rolegate: %s: %q is not the name of a header", caller, name))
	}
	if len(trusted) == 0 {
		panic(fmt.Sprintf("rolegate: %s(%q): say which networks the proxy is in: without them every client could choose who it is", caller, name))
	}
	networks, wrong := peer.New(trusted)
	for _, i := range wrong {
		panic(fmt.Sprintf("rolegate: %s(%q): network %d (%v) is not one that a proxy of yours is in: give its address range, such as 10.1.2.0/24", caller, name, i+1, trusted[i]))
	}
	return networks.Header(name, ErrNobody)
}
