package console_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
)

func TestAcceptingHeldRemovals(t *testing.T) {
	t.Parallel()
	a := newApp(t, rolegate.Config{}, pupils()...)
	form := a.hold()
	a.get().has("Removals of 30 users are held back", "<code>1</code>", "<code>12</code>", "and 18 more", "Accept the removals")
	a.get(speaking("zh")).has("暂缓移除 30 个用户", "以及另外 18 个", "接受移除")
	reviewed := a.post(url.Values{"action": {"review"}})
	assert.Equal(t, http.StatusOK, reviewed.status)
	reviewed.has("Remove 30 users at once?", "logged with your user id")
	assert.Equal(t, 30, a.gate.Status().Held.Users, "nothing was done")
	assert.Empty(t, a.log.String(), "and nothing said")

	done := a.post(form)
	assert.Equal(t, http.StatusOK, done.status)
	done.has("Done.", "It removed 30 users.", `<p class="big">1</p>`)
	done.lacks("are held back", "at once?")
	assert.Zero(t, a.gate.Status().Held.Users)
	assert.Equal(t, 1, a.gate.Status().Users)
	log := a.log.String()
	assert.Contains(t, log, `"msg":"rolegate console: somebody accepts the removals that are held","user_id":"900","held":30,"cause":"shrink_guard"}`)
	assert.Contains(t, log, `"user_id":"900","held":30,"cause":"shrink_guard","outcome":"applied","removed":30}`)

	again := a.post(form)
	assert.Equal(t, http.StatusConflict, again.status)
	again.has("Nothing was done.")
	assert.Equal(t, 2, strings.Count(a.log.String(), "\n"), "what was not done is not logged as done")
	assert.Equal(t, http.StatusOK, a.post(url.Values{"action": {"review"}}).status)
}

// What somebody accepts is what they were shown.
func TestAcceptingWhatHasChanged(t *testing.T) {
	t.Parallel()
	a := newApp(t, rolegate.Config{}, append(pupils(), user(50), user(51))...)
	form := a.hold()
	a.source.Remove(50)
	require.ErrorIs(t, a.gate.RefreshAll(t.Context()), rolegate.ErrHeld)
	for name, held := range map[string]url.Values{
		"what was shown before": form, "nothing": {"action": {"accept"}}, "something made up": {"action": {"accept"}, "held": {"31"}},
	} {
		p := a.post(held)
		assert.Equal(t, http.StatusConflict, p.status, name)
		p.has("has changed meanwhile", "Remove 31 users at once?")
		assert.Equal(t, 31, a.gate.Status().Held.Users, name)
	}
}

func TestAcceptingFails(t *testing.T) {
	t.Parallel()
	a := newApp(t, rolegate.Config{}, pupils()...)
	form := a.hold()
	a.source.Fail(errors.New("<away>"))
	p := a.post(form)
	assert.Equal(t, http.StatusBadGateway, p.status)
	p.has("It failed, and the list stays as it was", "&lt;away&gt;", "Removals of 30 users are held back")
	assert.Contains(t, a.log.String(), `"outcome":"failed"`)
	assert.Equal(t, 31, a.gate.Status().Users)
}

// A form counts only if the page has made it for the browser that sends it.
func TestForgedForms(t *testing.T) {
	t.Parallel()
	a := newApp(t, rolegate.Config{}, pupils()...)
	form := a.hold()
	other := strings.Repeat("A", 26)
	cookie, _, _ := strings.Cut(a.get().header.Get("Set-Cookie"), "=")
	none := func(r *http.Request) {
		for _, name := range []string{"Sec-Fetch-Site", "Origin", "Cookie"} {
			r.Header.Del(name)
		}
	}
	for _, c := range []struct {
		name   string
		form   url.Values
		change change
		says   string
	}{
		{"from another site", form, header("Sec-Fetch-Site", "cross-site"), "another site"},
		{"from a sister site", form, header("Sec-Fetch-Site", "same-site"), "another site"},
		{"from another origin, in an old browser", form, func(r *http.Request) {
			r.Header.Del("Sec-Fetch-Site")
			r.Header.Set("Origin", "https://evil.example")
		}, "another site"},
		{"from nowhere", form, func(r *http.Request) {
			r.Header.Del("Sec-Fetch-Site")
			r.Header.Set("Origin", "null")
		}, "another site"},
		{"without anything of a browser's", form, none, "out of date"},
		{"without a cookie", form, func(r *http.Request) { r.Header.Del("Cookie") }, "out of date"},
		{"another session's cookie", form, header("Cookie", cookie+"="+other), "out of date"},
		{"two cookies", form, func(r *http.Request) {
			r.Header.Set("Cookie", r.Header.Get("Cookie")+"; "+cookie+"="+other)
		}, "out of date"},
		{"without a token", with(form, "token", ""), nil, "out of date"},
		{"another token", with(form, "token", other), nil, "out of date"},
		{"as plain text", form, header("Content-Type", "text/plain"), "out of date"},
		{"as JSON", form, header("Content-Type", "application/json"), "out of date"},
		{"in parts", form, header("Content-Type", "multipart/form-data; boundary=x"), "out of date"},
		{"without a type", form, func(r *http.Request) { r.Header.Del("Content-Type") }, "out of date"},
		{"in the query alone", form, func(r *http.Request) {
			text, _ := io.ReadAll(r.Body)
			r.URL.RawQuery, r.Body, r.ContentLength = string(text), http.NoBody, 0
		}, "out of date"},
		{"the token in the query alone", with(form, "token", ""), func(r *http.Request) {
			cookies := r.Cookies()
			r.URL.RawQuery = "token=" + cookies[0].Value
		}, "out of date"},
		{"another site's word twice", form, func(r *http.Request) {
			r.Header["Sec-Fetch-Site"] = []string{"cross-site", "same-origin"}
		}, "another site"},
		{"an empty cookie and token", with(form, "token", ""), header("Cookie", cookie+"="), "out of date"},
	} {
		t.Run(c.name, func(t *testing.T) {
			changes := []change{}
			if c.change != nil {
				changes = append(changes, c.change)
			}
			for _, action := range []string{"accept", "review", "why"} {
				f := url.Values{}
				for k, v := range c.form {
					f[k] = v
				}
				f.Set("action", action)
				p := a.post(f, changes...)
				assert.Equal(t, http.StatusForbidden, p.status)
				p.has(c.says)
				assert.Equal(t, "text/plain; charset=utf-8", p.header.Get("Content-Type"))
			}
			assert.Equal(t, 30, a.gate.Status().Held.Users)
		})
	}
	assert.Contains(t, a.log.String(), `"msg":"rolegate console: a form was refused","user_id":"900","why":"it comes from another site"`)
	assert.NotContains(t, a.log.String(), "somebody accepts")
	assert.Equal(t, http.StatusMethodNotAllowed, serve(t, a.router, httptest.NewRequest("PUT", "/console", nil)).status)
	get := serve(t, a.router, httptest.NewRequest("GET", "/console?"+form.Encode(), nil))
	assert.Equal(t, http.StatusOK, get.status)
	assert.Equal(t, 30, a.gate.Status().Held.Users, "a GET does nothing")
	assert.Equal(t, http.StatusOK, a.post(form).status, "and the right one still counts")
}

func TestFormsThatCannotBe(t *testing.T) {
	t.Parallel()
	a := newApp(t, rolegate.Config{})
	for _, c := range []struct {
		name string
		form url.Values
		want int
	}{
		{"no action", url.Values{}, http.StatusBadRequest},
		{"an unknown one", url.Values{"action": {"delete"}}, http.StatusBadRequest},
		{"too long", url.Values{"action": {"why"}, "user": {strings.Repeat("9", 20<<10)}}, http.StatusBadRequest},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, c.want, a.post(c.form).status)
		})
	}
}
