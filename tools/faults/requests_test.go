package faults_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

// What a handler writes into its request is seen outside the guard, as without one:
// the server cleans up after uploads, and a middleware outside knows the pattern.
func TestFault99WhatAHandlerWritesIntoItsRequest(t *testing.T) {
	t.Parallel()
	gate := webGate(t, webUser(1, webIn(7, "teacher")))
	guards := map[string]func(http.Handler) http.Handler{
		"Admit":                       gate.Admit,
		"Require":                     gate.Require(rolegate.AnyRole("teacher")),
		"InOrg":                       gate.Require(rolegate.AnyRole("teacher"), webOrg(7)),
		"EndOnRevoke":                 gate.Require(rolegate.Listed(), rolegate.EndOnRevoke()),
		"two of them":                 func(h http.Handler) http.Handler { return gate.Admit(gate.Require(rolegate.AnyRole("teacher"))(h)) },
		"MaxAge":                      gate.Require(rolegate.Listed(), rolegate.MaxAge(time.Hour)),
		"none, to know what is right": func(h http.Handler) http.Handler { return h },
	}
	for name, guard := range guards {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var file string
			mux := http.NewServeMux()
			mux.HandleFunc("POST /files/{id}", func(w http.ResponseWriter, r *http.Request) {
				if !assert.NoError(t, r.ParseMultipartForm(1<<10)) {
					return
				}
				f, err := r.MultipartForm.File["f"][0].Open()
				if assert.NoError(t, err) {
					if onDisk, ok := f.(*os.File); ok {
						file = onDisk.Name()
					}
					_ = f.Close()
				}
			})
			seen := make(chan *http.Request, 1)
			guarded := guard(mux)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				guarded.ServeHTTP(w, r)
				seen <- r
			}))
			defer server.Close()
			var body bytes.Buffer
			form := multipart.NewWriter(&body)
			part, _ := form.CreateFormFile("f", "a.bin")
			_, _ = part.Write(bytes.Repeat([]byte("x"), 1<<20))
			_ = form.WriteField("k", "v")
			_ = form.Close()
			r, _ := http.NewRequestWithContext(t.Context(), "POST", server.URL+"/files/17", &body)
			r.Header.Set("Content-Type", form.FormDataContentType())
			r.Header.Set("X-User-Id", "1")
			resp, err := http.DefaultTransport.RoundTrip(r)
			require.NoError(t, err)
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			require.Equal(t, 200, resp.StatusCode)
			outside := <-seen
			assert.Equal(t, "POST /files/{id}", outside.Pattern)
			assert.Equal(t, "17", outside.PathValue("id"))
			assert.Equal(t, "v", outside.FormValue("k"))
			require.NotNil(t, outside.MultipartForm)
			require.NotEmpty(t, file, "the upload was large enough for the disk")
			server.Close() // waits for the handler's end
			assert.Eventually(t, func() bool { _, err := os.Stat(file); return errors.Is(err, os.ErrNotExist) }, webWait, time.Millisecond, "the server has cleaned up")
		})
	}
}

// A client that leaves while the app is asked who they are alarms nobody.
func TestFault100AClientThatLeaves(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		say    func(ctx context.Context) error // what the app's own store says then
		leaves bool
		want   rolegate.Reason
	}{
		"the store says so":                    {func(ctx context.Context) error { return ctx.Err() }, true, rolegate.ReasonClientGone},
		"the store says it in its own words":   {func(context.Context) error { return errors.New("canceling statement due to user request") }, true, rolegate.ReasonClientGone},
		"the store fails, and nobody has left": {func(context.Context) error { return context.Canceled }, false, rolegate.ReasonIdentifyFailed},
	} {
		for _, where := range []string{"identify", "organisation"} {
			t.Run(where+": "+name, func(t *testing.T) {
				t.Parallel()
				book := &logBook{}
				cfg := webConfig(rolegatetest.NewStatic(webUser(1, webIn(7, "teacher"))))
				cfg.Logger = book.logger()
				ctx, leave := context.WithCancel(t.Context())
				defer leave()
				fail := func() error {
					if c.leaves {
						leave()
					}
					return c.say(ctx)
				}
				options := []rolegate.Option{rolegate.AnyRole("teacher")}
				want := c.want
				if where == "identify" {
					cfg.Identify = rolegate.ByUserID(func(*http.Request) (int64, error) { return 0, fail() })
				} else {
					options = append(options, rolegate.InOrg(func(*http.Request) (int64, error) { return 0, fail() }))
					if !c.leaves {
						want = rolegate.ReasonOrgUnreadable
					}
				}
				gate := webOpen(t, cfg)
				guarded := gate.Require(options...)
				r := httptest.NewRequest("GET", "/", nil).WithContext(ctx)
				r.Header.Set("X-User-Id", "1")
				w := httptest.NewRecorder()
				guarded(webNever(t)).ServeHTTP(w, r)
				assert.EqualValues(t, 1, gate.Status().Decisions[want], "%v", gate.Status().Decisions)
				alarms := strings.Count(book.String(), `"level":"ERROR"`) + strings.Count(book.String(), `"level":"WARN"`)
				assert.Equal(t, c.leaves, alarms == 0, "%s", book)
			})
		}
	}
}

// A refusal takes over nothing that describes or caches the page that was asked
// for; a guarded answer that says nothing is private.
func TestFault101AnswersThatASharedCacheMayKeep(t *testing.T) {
	t.Parallel()
	gate := webGate(t, webUser(1, webIn(7, "teacher")))
	for _, header := range []string{
		"Cache-Control: public, max-age=600", "CDN-Cache-Control: max-age=600", "Surrogate-Control: max-age=600", "Cloudflare-CDN-Cache-Control: max-age=600",
		"Vercel-CDN-Cache-Control: max-age=600", "Surrogate-Key: page", "Cache-Tag: page", "X-Accel-Expires: 600", "Expires: Thu, 01 Jan 2099 00:00:00 GMT",
		"Content-Disposition: attachment; filename=grades.pdf", "ETag: \"1\"", "Last-Modified: Thu, 01 Jan 2020 00:00:00 GMT", "Content-Range: bytes 0-1/2", "Content-Encoding: gzip",
	} {
		t.Run(header, func(t *testing.T) {
			t.Parallel()
			name, value, _ := strings.Cut(header, ": ")
			outer := func(h http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set(name, value)
					h.ServeHTTP(w, r)
				})
			}
			for _, user := range []int64{0, 9} {
				w := webAsk(outer(gate.Admit(webNever(t))), "GET", "/", user)
				assert.NotEqual(t, value, w.Header().Get(name))
				assert.Contains(t, w.Header().Get("Cache-Control"), "no-store")
			}
			w := webAsk(outer(gate.Admit(tickOK)), "GET", "/", 1)
			assert.Equal(t, value, w.Header().Get(name), "what the app says of its own answers stays")
			assert.Contains(t, webAsk(gate.Admit(tickOK), "GET", "/", 1).Header().Get("Cache-Control"), "private")
		})
	}
}

// A shutdown does not wait for guarded streams.
func TestFault102AShutdownWithOpenStreams(t *testing.T) {
	t.Parallel()
	for _, streams := range []int{1, 10} {
		t.Run(strings.Repeat("|", streams), func(t *testing.T) {
			t.Parallel()
			gate := webGate(t, webUser(1, webIn(7, "teacher")))
			begun := make(chan struct{}, streams)
			guarded := gate.Require(rolegate.AnyRole("teacher"), rolegate.EndOnRevoke())(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.WriteString(w, "data: 1\n\n")
				_ = http.NewResponseController(w).Flush()
				begun <- struct{}{}
				<-r.Context().Done()
				assert.ErrorIs(t, context.Cause(r.Context()), http.ErrServerClosed)
			}))
			server := httptest.NewServer(guarded)
			server.Config.RegisterOnShutdown(gate.EndStreams)
			for range streams {
				r, _ := http.NewRequestWithContext(t.Context(), "GET", server.URL, nil)
				r.Header.Set("X-User-Id", "1")
				resp, err := http.DefaultClient.Do(r)
				require.NoError(t, err)
				defer resp.Body.Close()
				<-begun
			}
			ctx, cancel := context.WithTimeout(t.Context(), webWait)
			defer cancel()
			require.NoError(t, server.Config.Shutdown(ctx))
			assert.True(t, webAllowed(gate, 1), "everything else is decided as before")
			http.DefaultClient.CloseIdleConnections()
		})
	}
}
