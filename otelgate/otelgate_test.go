package otelgate_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/goleak"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/cloudcommand"
	"github.com/rolegate/rolegate/otelgate"
	"github.com/rolegate/rolegate/rolegatetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A recorder keeps the spans that were ended.
type recorder struct {
	noop.TracerProvider
	mu    sync.Mutex
	spans []*span
	scope string
}

func (r *recorder) Tracer(scope string, _ ...trace.TracerOption) trace.Tracer {
	r.scope = scope
	return tracer{recorder: r}
}

func (r *recorder) ended() []*span {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.spans)
}

type tracer struct {
	noop.Tracer
	recorder *recorder
}

func (t tracer) Start(ctx context.Context, name string, options ...trace.SpanStartOption) (context.Context, trace.Span) {
	s := &span{recorder: t.recorder, name: name, attributes: map[string]string{}}
	cfg := trace.NewSpanStartConfig(options...)
	s.SetAttributes(cfg.Attributes()...)
	return trace.ContextWithSpan(ctx, s), s
}

type span struct {
	noop.Span
	recorder   *recorder
	name       string
	attributes map[string]string
	status     codes.Code
	events     []string
}

func (s *span) IsRecording() bool                   { return true }
func (s *span) SetStatus(code codes.Code, _ string) { s.status = code }
func (s *span) SetAttributes(all ...attribute.KeyValue) {
	for _, kv := range all {
		s.attributes[string(kv.Key)] = kv.Value.String()
	}
}

func (s *span) AddEvent(name string, options ...trace.EventOption) {
	cfg := trace.NewEventConfig(options...)
	for _, kv := range cfg.Attributes() {
		name += fmt.Sprintf(" %s=%s", kv.Key, kv.Value.String())
	}
	s.events = append(s.events, name)
}

func (s *span) End(...trace.SpanEndOption) {
	s.recorder.mu.Lock()
	defer s.recorder.mu.Unlock()
	s.recorder.spans = append(s.recorder.spans, s)
}

// A source that does what it is told.
type source func(ctx context.Context, after int64, yield func(rolegate.Record)) error

func (f source) Pull(ctx context.Context, after int64, yield func(rolegate.Record)) error {
	return f(ctx, after, yield)
}

func TestPull(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		err    error
		failed string
	}{
		{"succeeds", nil, ""},
		{"fails", &rolegate.PullError{Failure: rolegate.FailureRefused, Err: errors.New("secret")}, "refused"},
		{"takes too long", fmt.Errorf("pull: %w", context.DeadlineExceeded), "timeout"},
		{"fails otherwise", errors.New("secret"), "other"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			spans := &recorder{}
			s := otelgate.Source(source(func(ctx context.Context, after int64, yield func(rolegate.Record)) error {
				assert.IsType(t, &span{}, trace.SpanFromContext(ctx), "the source sees the span")
				assert.Empty(t, spans.ended())
				yield(rolegate.Record{UserID: 1})
				yield(rolegate.Record{UserID: 2, Bad: errors.New("secret")})
				yield(rolegate.Record{UserID: 3})
				return test.err
			}), spans)
			var ids []int64
			err := s.Pull(t.Context(), 7, func(r rolegate.Record) { ids = append(ids, r.UserID) })
			assert.Equal(t, test.err, err)
			assert.Equal(t, []int64{1, 2, 3}, ids)
			require.Len(t, spans.ended(), 1)
			got := spans.ended()[0]
			want := map[string]string{"rolegate.after": "7", "rolegate.records": "3", "rolegate.bad_records": "1"}
			if test.failed != "" {
				want["error.type"] = test.failed
			}
			assert.Equal(t, "rolegate.pull", got.name)
			assert.Equal(t, want, got.attributes)
			assert.Equal(t, test.failed != "", got.status == codes.Error)
			assert.Equal(t, "github.com/rolegate/rolegate/otelgate", spans.scope)
		})
	}
}

// A panic is the gate's to handle, and the span ends all the same.
func TestPullPanics(t *testing.T) {
	t.Parallel()
	spans := &recorder{}
	s := otelgate.Source(source(func(context.Context, int64, func(rolegate.Record)) error { panic("secret") }), spans)
	assert.PanicsWithValue(t, "secret", func() { _ = s.Pull(t.Context(), 0, nil) })
	require.Len(t, spans.ended(), 1)
	assert.Equal(t, "panic", spans.ended()[0].attributes["error.type"])
}

// rich is a source with all the methods that it may have besides.
type rich struct {
	source
	closed int
}

func (*rich) Validate() error         { return errors.New("BaseURL is empty") }
func (*rich) CacheKey() string        { return "this list" }
func (r *rich) CloseIdleConnections() { r.closed++ }

func TestOptionalMethods(t *testing.T) {
	t.Parallel()
	type all interface {
		Validate() error
		CacheKey() string
		CloseIdleConnections()
	}
	inner := &rich{}
	passed := otelgate.Source(inner, nil).(all)
	assert.EqualError(t, passed.Validate(), "BaseURL is empty")
	assert.Equal(t, "this list", passed.CacheKey())
	passed.CloseIdleConnections()
	assert.Equal(t, 1, inner.closed)

	plain := otelgate.Source(source(nil), nil).(all)
	assert.NoError(t, plain.Validate())
	assert.Empty(t, plain.CacheKey())
	plain.CloseIdleConnections()
	assert.PanicsWithValue(t, "otelgate: Source: the source is nil", func() { otelgate.Source(nil, nil) })
}

func openGate(t testing.TB, spans *recorder, next rolegate.DenyFunc) *rolegate.Gate {
	t.Helper()
	gate, err := rolegate.Open(t.Context(), rolegate.Config{
		Source: otelgate.Source(rolegatetest.NewStatic(rolegate.Record{UserID: 1, Sequence: 3}), spans),
		Identify: rolegate.ByUserID(func(r *http.Request) (int64, error) {
			if r.Header.Get("X-User") != "1" {
				return 2, nil
			}
			return 1, nil
		}),
		Deny: otelgate.Deny(next), Logger: slog.New(slog.DiscardHandler), OnDeny: rolegate.OnDeny{Off: true},
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, gate.Close()) })
	return gate
}

// The gate's own pulls, and its refusals within the span of a request.
func TestGate(t *testing.T) {
	t.Parallel()
	spans := &recorder{}
	var told rolegate.Denial
	gate := openGate(t, spans, func(h http.Header, r *http.Request, d rolegate.Denial) []byte {
		told = d
		return cloudcommand.DenyBladeX(h, r, d)
	})
	require.NotEmpty(t, spans.ended())
	assert.Equal(t, "0", spans.ended()[0].attributes["rolegate.after"])
	assert.Equal(t, "1", spans.ended()[0].attributes["rolegate.records"])

	handler := gate.Admit(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	serve := func(user string) (*span, *httptest.ResponseRecorder) {
		ctx, s := tracer{recorder: spans}.Start(t.Context(), "GET /")
		r := httptest.NewRequestWithContext(ctx, "GET", "/", nil)
		r.Header.Set("X-User", user)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return s.(*span), w
	}
	s, w := serve("2")
	assert.Equal(t, 403, w.Code)
	assert.Contains(t, w.Body.String(), `"success":false`)
	assert.NotEmpty(t, told.ID)
	assert.Equal(t, []string{"rolegate.denied rolegate.reason=not_authorized rolegate.decision=" + told.ID}, s.events)
	s, w = serve("1")
	assert.Equal(t, 200, w.Code)
	assert.Empty(t, s.events)

	// Without a span there is nothing to tell it to.
	w = httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	assert.Equal(t, 403, w.Code)
}

func TestDenyWithoutNext(t *testing.T) {
	t.Parallel()
	gate := openGate(t, &recorder{}, nil)
	w := httptest.NewRecorder()
	gate.Admit(http.NotFoundHandler()).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	assert.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
}

func TestDecide(t *testing.T) {
	t.Parallel()
	gate := openGate(t, &recorder{}, nil)
	role := rolegate.AnyRole("teacher")
	for _, test := range []struct {
		name    string
		policy  *rolegate.Policy
		id      int64
		allowed bool
		events  []string
	}{
		{"granted", gate.Policy(rolegate.NoRole("teacher")), 1, true, nil},
		{"denied", gate.Policy(role), 1, false, []string{"rolegate.denied rolegate.reason=role_missing"}},
		{"shadowed", gate.Policy(role, rolegate.Shadow()), 1, true, []string{"rolegate.shadowed rolegate.reason=role_missing"}},
		{"no policy", nil, 1, false, []string{"rolegate.denied rolegate.reason=not_ready"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			ctx, s := tracer{recorder: &recorder{}}.Start(t.Context(), "job")
			assert.Equal(t, test.allowed, otelgate.Decide(ctx, test.policy, rolegate.UserID(test.id), 0).Allowed())
			assert.Equal(t, test.events, s.(*span).events)
			assert.Equal(t, test.allowed, otelgate.Decide(t.Context(), test.policy, rolegate.UserID(test.id), 0).Allowed())
		})
	}
}

// A nil provider is the global one.
func TestGlobalProvider(t *testing.T) {
	spans := &recorder{}
	before := otel.GetTracerProvider()
	otel.SetTracerProvider(spans)
	defer otel.SetTracerProvider(before)
	s := otelgate.Source(source(func(context.Context, int64, func(rolegate.Record)) error { return nil }), nil)
	require.NoError(t, s.Pull(t.Context(), 0, func(rolegate.Record) {}))
	assert.Len(t, spans.ended(), 1)
}

func Example() {
	gate, err := rolegate.Open(context.Background(), rolegate.Config{
		Source:   otelgate.Source(rolegatetest.NewStatic(rolegate.Record{UserID: 1}), nil), // an app has marketplace.New(…) here
		Identify: rolegate.ByUserID(func(*http.Request) (int64, error) { return 2, nil }),
		Deny:     otelgate.Deny(rolegate.DenyProblem),
		Logger:   slog.New(slog.DiscardHandler),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer gate.Close()
	fmt.Println(otelgate.Decide(context.Background(), gate.Policy(rolegate.AnyRole("teacher")), rolegate.UserID(1), 0))
	// Output: role_missing
}
