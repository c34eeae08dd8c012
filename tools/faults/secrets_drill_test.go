//go:build drill

package faults_test

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/cloudcommand"
	"github.com/rolegate/rolegate/internal/wiretest"
	"github.com/rolegate/rolegate/marketplace"
	"github.com/rolegate/rolegate/rolegatetest"
)

// webToken looks like nothing that a pattern would find, and is written in
// another way in nearly every escaping.
const webToken = `hunter2/+s3cr&t="phrase"%41 ~end`

// webTransport is a round trip.
type webTransport func(*http.Request) (*http.Response, error)

func (f webTransport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// webPage is a list of one user in a complete answer.
const webPage = `{"code":200,"status":"success","message":"","data":[{"userId":1,"lastSequence":1,"roleList":[]}]}`

// Line 58: errors of every kind. No text of any of them, nor of anything below
// it in the chain, of a log line or of Status may have the token in it, and none
// the query that it travels in; errors.Is and errors.As must still find what is
// not secret.
func TestFault58NoTokenInAnyError(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	nobodyThere := "http://" + listener.Addr().String()
	require.NoError(t, listener.Close())
	untrusted := httptest.NewUnstartedServer(http.NotFoundHandler())
	untrusted.Config.ErrorLog = log.New(io.Discard, "", 0)
	untrusted.StartTLS()
	t.Cleanup(untrusted.Close)
	other := httptest.NewServer(webNever(t))
	t.Cleanup(other.Close)
	hangs := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(hangs.Close)
	drips := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, webPage[:20])
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}))
	t.Cleanup(drips.Close)
	noSuchHost := &http.Transport{DialContext: (&net.Dialer{Resolver: &net.Resolver{
		PreferGo: true,
		Dial:     func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no name server") },
	}}).DialContext}
	t.Cleanup(noSuchHost.CloseIdleConnections)

	isSecret := errors.New("no luck with " + webToken) // it can be found, but is not shown
	is := func(target error) func(error) bool {
		return func(err error) bool { return errors.Is(err, target) }
	}
	head := "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	for _, c := range []struct {
		name    string
		base    string
		change  func(*marketplace.Config)
		failure rolegate.Failure
		finds   func(error) bool
	}{
		{"dial", nobodyThere, nil, marketplace.FailureNetwork, func(err error) bool {
			var op *net.OpError
			return errors.As(err, &op) && op.Op == "dial"
		}},
		{"DNS", "http://market.rolegate.test", func(c *marketplace.Config) { c.Transport = noSuchHost }, marketplace.FailureNetwork, func(err error) bool {
			var dns *net.DNSError
			return errors.As(err, &dns) && dns.Name == "market.rolegate.test"
		}},
		{"TLS, a certificate of nobody", untrusted.URL, nil, marketplace.FailureNetwork, func(err error) bool {
			var cert *tls.CertificateVerificationError
			return errors.As(err, &cert)
		}},
		{"TLS, a server that speaks none", "https" + strings.TrimPrefix(wiretest.Answers(t, "", false), "http"), nil, marketplace.FailureNetwork, nil},
		{"TLS, a server that answers in plain text", "https" + strings.TrimPrefix(other.URL, "http"), nil, marketplace.FailureNetwork, nil},
		{"a timeout of the headers", hangs.URL, func(c *marketplace.Config) { c.PageTimeout = 50 * time.Millisecond }, rolegate.FailureTimeout, is(context.DeadlineExceeded)},
		{"a timeout of the body", drips.URL, func(c *marketplace.Config) { c.PageTimeout = 50 * time.Millisecond }, rolegate.FailureTimeout, func(err error) bool {
			var n net.Error
			return errors.Is(err, context.DeadlineExceeded) && errors.As(err, &n) && n.Timeout()
		}},
		{"a redirect to another host", wiretest.Answers(t, "HTTP/1.1 302 Found\r\nLocation: "+other.URL+"/?accessToken="+url.QueryEscape(webToken)+"\r\nContent-Length: 0\r\n\r\n", false), nil, "", nil},
		{"a redirect to itself", wiretest.Answers(t, "HTTP/1.1 307 Temporary Redirect\r\nLocation: /?accessToken="+url.QueryEscape(webToken)+"\r\nContent-Length: 0\r\n\r\n", false), nil, "", nil},
		{"closed at once", wiretest.Answers(t, "", false), nil, marketplace.FailureNetwork, nil},
		{"reset", wiretest.Answers(t, head+"Content-Length: 999\r\n\r\n"+webPage, true), nil, marketplace.FailureNetwork, nil},
		{"truncated", wiretest.Answers(t, head+"Content-Length: 999\r\n\r\n"+webPage, false), nil, marketplace.FailureMalformed, is(io.ErrUnexpectedEOF)},
		{"no HTTP", wiretest.Answers(t, "SSH-2.0 "+webToken+"\r\n\r\n", false), nil, marketplace.FailureNetwork, nil},
		{"decode: HTML", wiretest.Answers(t, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n<html>"+webToken, false), nil, marketplace.FailureMalformed, nil},
		{"decode: a value of another kind", wiretest.Answers(t, head+"Connection: close\r\n\r\n"+`{"code":200,"data":`+webQuote(webToken)+`}`, false), nil, marketplace.FailureMalformed, nil},
		{"decode: the token for a code", wiretest.Answers(t, head+"Connection: close\r\n\r\n"+`{"code":`+webQuote(webToken)+`,"data":[]}`, false), nil, marketplace.FailureMalformed, nil},
		{"decode: the token as a key", wiretest.Answers(t, head+"Connection: close\r\n\r\n"+`{"code":200,`+webQuote(webToken)+`:1,`+webQuote(webToken)+`:2,"data":[]}`, false), nil, "", nil},
		{"decode: behind the end", wiretest.Answers(t, head+"Connection: close\r\n\r\n"+webPage+webToken, false), nil, marketplace.FailureMalformed, nil},
		{"a status", wiretest.Answers(t, "HTTP/1.1 500 "+webToken+"\r\nConnection: close\r\n\r\n"+webToken, false), nil, rolegate.FailureHTTPStatus, nil},
		{"refused", wiretest.Answers(t, "HTTP/1.1 401 "+webToken+"\r\nConnection: close\r\n\r\n"+webToken, false), nil, rolegate.FailureRefused, is(rolegate.ErrRefused)},
		{"a proxy", nobodyThere, func(c *marketplace.Config) {
			c.Transport = webTransport(func(r *http.Request) (*http.Response, error) {
				return nil, fmt.Errorf("proxy: %w", &url.Error{Op: "Get", URL: r.URL.String(), Err: io.EOF})
			})
		}, marketplace.FailureNetwork, is(io.EOF)},
		{"a transport that says it all", nobodyThere, func(c *marketplace.Config) {
			c.Transport = webTransport(func(r *http.Request) (*http.Response, error) {
				return nil, errors.Join(io.EOF, fmt.Errorf("%v %#v %w", r.URL, r.URL.Query(), webLeaky{r.URL, webToken}))
			})
		}, marketplace.FailureNetwork, is(io.EOF)},
		{"an error that is secret itself", nobodyThere, func(c *marketplace.Config) {
			c.Transport = webTransport(func(*http.Request) (*http.Response, error) { return nil, isSecret })
		}, marketplace.FailureNetwork, is(isSecret)},
		{"a token source that tells its token", nobodyThere, func(c *marketplace.Config) {
			c.Token = marketplace.TokenFunc(func(context.Context) (string, error) {
				return webToken, fmt.Errorf("accessToken=%s was refused: %w", url.QueryEscape(webToken), io.EOF)
			})
		}, marketplace.FailureToken, is(io.EOF)},
		{"a token source that panics with it", nobodyThere, func(c *marketplace.Config) {
			c.Token = marketplace.TokenFunc(func(context.Context) (string, error) { panic(webToken) })
		}, marketplace.FailureToken, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cfg := marketplace.Config{BaseURL: c.base, AppID: "app", Token: marketplace.TokenFunc(func(context.Context) (string, error) { return webToken, nil })}
			if c.change != nil {
				c.change(&cfg)
			}
			client := marketplace.New(cfg)
			t.Cleanup(client.CloseIdleConnections)
			err := client.Pull(t.Context(), 0, func(rolegate.Record) {})
			webTells(t, err)
			var pe *rolegate.PullError
			require.ErrorAs(t, err, &pe)
			if c.failure != "" {
				assert.Equal(t, c.failure, pe.Failure, err)
			}
			if c.finds != nil {
				assert.True(t, c.finds(err), "%v", err)
			}
			var inURL *url.Error
			assert.False(t, errors.As(err, &inURL), "it has the query in it")
			assert.NotErrorIs(t, err, io.ErrNoProgress)

			// What the gate makes of it: its own error, its log, its Status.
			book := new(webBook)
			gateCfg := webConfig(client)
			gateCfg.Logger, gateCfg.StartEmpty = book.logger(), true
			gate := webOpen(t, gateCfg)
			ctx, cancel := context.WithTimeout(t.Context(), webWait)
			defer cancel()
			webTells(t, gate.RefreshAll(ctx))
			require.Positive(t, gate.Status().Full.Failed)
			webClean(t, webToken, webStatus(t, gate), book.all(), fmt.Sprintf("%v %+v %#v", client, client, client))
			assert.NotEmpty(t, book.lines("rolegate: a refresh failed; there is no list yet, and nobody is admitted"))
		})
	}
	t.Run("cancelled", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		client := marketplace.New(marketplace.Config{BaseURL: hangs.URL, AppID: "app", Token: marketplace.TokenFunc(func(context.Context) (string, error) {
			time.AfterFunc(50*time.Millisecond, cancel)
			return webToken, nil
		})})
		t.Cleanup(client.CloseIdleConnections)
		err := client.Pull(ctx, 0, func(rolegate.Record) {})
		webTells(t, err)
		assert.ErrorIs(t, err, context.Canceled)
	})
	t.Run("Open that gives up", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		client := marketplace.New(marketplace.Config{BaseURL: nobodyThere, AppID: "app", Token: marketplace.TokenFunc(func(context.Context) (string, error) { return webToken, nil })})
		_, err := rolegate.Open(ctx, webConfig(client))
		webTells(t, err)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		var pe *rolegate.PullError
		assert.ErrorAs(t, err, &pe)
	})
}

// webTells says that an error tells something, and neither token nor query.
func webTells(t *testing.T, err error) {
	t.Helper()
	require.Error(t, err)
	text := wiretest.Printed(err)
	webClean(t, webToken, text)
	assert.NotContains(t, text, "lastSequence=")
	assert.NotContains(t, text, "accessToken=hunter")
}

// Line 59: an upstream that repeats the token, in its message or anywhere else,
// in whatever escaping. It must be scrubbed, and so must other credentials and
// personal data; what else it says must stay.
func TestFault59AnUpstreamThatRepeatsTheToken(t *testing.T) {
	t.Parallel()
	basic := base64.StdEncoding.EncodeToString([]byte("client:" + webToken))
	for i, form := range append(wiretest.Forms(webToken), "accessToken="+webToken, "Basic "+basic, "Bearer "+basic, "AT-3-anotherToken.of~somebody",
		"https://market.test/list?accessToken="+url.QueryEscape(webToken)+"&limit=1", "zhang.san@school.test", "13800138000") {
		for where, answer := range map[string]func(w http.ResponseWriter){
			"the message": func(w http.ResponseWriter) {
				_, _ = fmt.Fprintf(w, `{"code":500,"status":"fail","message":%s,"data":{}}`, webQuote("系统繁忙 <"+form+"> busy"))
			},
			"the message of a refusal": func(w http.ResponseWriter) {
				_, _ = fmt.Fprintf(w, `{"code":401,"status":"fail","message":%s,"data":{}}`, webQuote("系统繁忙 <"+form+"> busy"))
			},
			"the message of an HTTP status": func(w http.ResponseWriter) {
				w.WriteHeader(503)
				_, _ = fmt.Fprintf(w, `{"code":503,"status":"error","message":%s,"data":{}}`, webQuote("系统繁忙 <"+form+"> busy"))
			},
			"a page for people": func(w http.ResponseWriter) { _, _ = io.WriteString(w, "<html>"+form) },
			"headers": func(w http.ResponseWriter) {
				for _, name := range []string{"Content-Type", "Retry-After", "Location", "Age", "Content-Encoding", "Set-Cookie", "Warning"} {
					w.Header().Set(name, form)
				}
				w.WriteHeader(302)
			},
		} {
			t.Run(fmt.Sprintf("%s, %d", where, i), func(t *testing.T) {
				t.Parallel()
				client := marketplace.New(marketplace.Config{
					BaseURL: rolegatetest.BaseURL, AppID: "app", Token: marketplace.TokenFunc(func(context.Context) (string, error) { return webToken, nil }),
					Transport: webTransport(func(*http.Request) (*http.Response, error) {
						w := httptest.NewRecorder()
						answer(w)
						return w.Result(), nil
					}),
				})
				book := new(webBook)
				cfg := webConfig(client)
				cfg.Logger, cfg.StartEmpty = book.logger(), true
				gate := webOpen(t, cfg)
				err := gate.RefreshAll(t.Context())
				webTells(t, err)
				texts := wiretest.Printed(err) + book.all() + webStatus(t, gate)
				webClean(t, webToken, texts)
				for _, secret := range []string{basic, "AT-3-anotherToken", "zhang.san", "13800138000"} {
					assert.NotContains(t, texts, secret)
				}
				if strings.HasPrefix(where, "the message") {
					assert.ErrorContains(t, err, "系统繁忙 <")
					assert.ErrorContains(t, err, "> busy", "what else it says stays")
				}
			})
		}
	}
	t.Run("云上指挥", func(t *testing.T) {
		t.Parallel()
		const key = "qz_app-key+of/somebody"
		for _, message := range []string{"%s", "client secret %s, app key " + key} {
			platform := rolegatetest.NewCloudCommand(rolegatetest.CloudCommandConfig{ClientSecret: webToken})
			platform.SetData(fmt.Sprintf(`{"name":"x","ak":%s,"message":%s}`, webQuote(key), webQuote(fmt.Sprintf("正在同步数据中 "+message, webToken))))
			book := new(webBook)
			cfg := webConfig(rolegatetest.NewStatic(webUser(1)))
			cfg.Logger = book.logger()
			cfg.UpstreamSync = cloudcommand.New(cloudcommand.Config{
				BaseURL: rolegatetest.BaseURL, ClientID: platform.ClientID(), ClientSecret: webToken, Transport: platform.Transport(),
			})
			gate := webOpen(t, cfg)
			require.NoError(t, gate.RefreshAll(t.Context()))
			assert.Equal(t, rolegate.SyncRunning, gate.Status().Sync.State, gate.Status().Sync.Error)
			assert.Contains(t, gate.Status().Sync.Text, "正在同步数据中")
			platform.Fail(rolegatetest.ErrorR(500, "no: "+webToken+" Basic "+basic))
			require.NoError(t, gate.RefreshAll(t.Context()))
			assert.Contains(t, gate.Status().Sync.Error, "no: ")
			webClean(t, webToken, book.all(), webStatus(t, gate))
			webClean(t, basic, book.all(), webStatus(t, gate))
			webClean(t, key, book.all(), webStatus(t, gate))
		}
	})
}

// webLeaky has secrets in fields that it does not print.
type webLeaky struct {
	URL   *url.URL
	Token string
}

func (webLeaky) Error() string { return "leaky" }
