// Package otelgate puts what a gate does into OpenTelemetry traces:
//
//	gate, err := rolegate.Open(ctx, rolegate.Config{
//		Source: otelgate.Source(marketplace.New(…), nil), // a span for each refresh
//		Deny:   otelgate.Deny(rolegate.DenyProblem),      // an event for each refusal
//		…
//	})
//
// and [Decide] in the place of Policy.Decide, where no HTTP is served. That is
// all that has a context. Config.OnDecision and Config.OnChange are called later,
// from a goroutine of the gate's, and without one: what they tell cannot be put
// into the trace of a request, and belongs into logs and metrics. Grants over
// HTTP leave nothing in a trace, but for the handler that runs.
//
// Spans and events have no user, role, token or error text in them, only words,
// numbers and the id of the decision, which leads to the log line. Without a
// span that records, nothing is done. The package needs the API of OpenTelemetry
// alone, no SDK.
package otelgate

import (
	"context"
	"errors"
	"net/http"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/rolegate/rolegate"
)

// The names of what is told.
const (
	scope = "github.com/rolegate/rolegate/otelgate"

	spanPull      = "rolegate.pull"
	eventDenied   = "rolegate.denied"
	eventShadowed = "rolegate.shadowed"

	keyAfter      = attribute.Key("rolegate.after")       // the sequence that a refresh goes on from, 0 for a full refresh
	keyRecords    = attribute.Key("rolegate.records")     // that the source yielded
	keyBadRecords = attribute.Key("rolegate.bad_records") // those of them that could not be understood
	keyReason     = attribute.Key("rolegate.reason")
	keyDecision   = attribute.Key("rolegate.decision") // the id that the refused client was told
	keyError      = attribute.Key("error.type")
)

// Source makes a span for each refresh from a source. The source gets the span in
// its context, so that what its HTTP transport tells is within. A nil provider
// is the global one.
//
// The source's methods Validate, CacheKey and CloseIdleConnections are passed
// on. It panics if the source is nil.
func Source(source rolegate.Source, provider trace.TracerProvider) rolegate.Source {
	if source == nil {
		panic("otelgate: Source: the source is nil")
	}
	if provider == nil {
		provider = otel.GetTracerProvider()
	}
	return &traced{Source: source, tracer: provider.Tracer(scope)}
}

// traced is a source with a span around each pull.
type traced struct {
	rolegate.Source
	tracer trace.Tracer
}

// Pull implements rolegate.Source.
func (s *traced) Pull(ctx context.Context, after int64, yield func(rolegate.Record)) (err error) {
	ctx, span := s.tracer.Start(ctx, spanPull, trace.WithSpanKind(trace.SpanKindInternal), trace.WithAttributes(keyAfter.Int64(after)))
	records, bad, returned := 0, 0, false
	defer func() {
		span.SetAttributes(keyRecords.Int(records), keyBadRecords.Int(bad))
		if failure := failureOf(err, returned); failure != "" {
			span.SetAttributes(keyError.String(string(failure)))
			span.SetStatus(codes.Error, string(failure))
		}
		span.End()
	}()
	err = s.Source.Pull(ctx, after, func(r rolegate.Record) {
		records++
		if r.Bad != nil {
			bad++
		}
		yield(r)
	})
	returned = true
	return err
}

// failureOf says in one word why a refresh failed, "" if it did not. One that has
// not returned has panicked.
func failureOf(err error, returned bool) rolegate.Failure {
	var pull *rolegate.PullError
	switch {
	case !returned:
		return rolegate.FailurePanic
	case err == nil:
		return ""
	case errors.As(err, &pull) && pull.Failure != "":
		return pull.Failure
	case errors.Is(err, context.DeadlineExceeded):
		return rolegate.FailureTimeout
	default:
		return rolegate.FailureOther
	}
}

// Validate passes on what the source says of its configuration.
func (s *traced) Validate() error {
	if v, ok := s.Source.(rolegate.Validator); ok {
		return v.Validate()
	}
	return nil
}

// CacheKey passes on which list it is; "" if the source does not tell.
func (s *traced) CacheKey() string {
	if k, ok := s.Source.(rolegate.CacheKeyer); ok {
		return k.CacheKey()
	}
	return ""
}

// CloseIdleConnections passes on that the gate is closed.
func (s *traced) CloseIdleConnections() {
	if c, ok := s.Source.(rolegate.IdleConnectionCloser); ok {
		c.CloseIdleConnections()
	}
}

// Deny shapes refusals as next does, and puts each as an event into the span that
// the request's context has: with its reason, which the client is not told, and
// the id of the decision. A nil next is rolegate.DenyProblem.
// A guard with rolegate.DenyWith needs one of its own.
func Deny(next rolegate.DenyFunc) rolegate.DenyFunc {
	if next == nil {
		next = rolegate.DenyProblem
	}
	return func(h http.Header, r *http.Request, d rolegate.Denial) []byte {
		if span := trace.SpanFromContext(r.Context()); span.IsRecording() {
			span.AddEvent(eventDenied, trace.WithAttributes(keyReason.String(d.Reason.String()), keyDecision.String(d.ID)))
		}
		return next(h, r, d)
	}
}

// Decide decides as p.Decide does, and puts a refusal, and what a Shadow let
// pass, as an event into the span that ctx has.
func Decide(ctx context.Context, p *rolegate.Policy, id rolegate.Identity, org int64) rolegate.Decision {
	d := p.Decide(ctx, id, org)
	if d.Reason == rolegate.ReasonGranted {
		return d
	}
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		name := eventDenied
		if d.Allowed() {
			name = eventShadowed
		}
		span.AddEvent(name, trace.WithAttributes(keyReason.String(d.Reason.String())))
	}
	return d
}
