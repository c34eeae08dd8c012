package rolegatetest

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// serveToken answers a request for a token.
func (c *CloudCommand) serveToken(w http.ResponseWriter, r *http.Request) {
	req := c.newRequest(r)
	form := r.PostForm
	switch {
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		c.refuseToken(w, http.StatusMethodNotAllowed, "请求方式不支持")
		return
	case !req.ClientOK:
		c.refuseToken(w, http.StatusUnauthorized, "客户端认证失败")
		return
	case req.TenantID != c.cfg.TenantID || form.Get("tenantId") != c.cfg.TenantID:
		c.refuseToken(w, http.StatusBadRequest, "租户信息不匹配")
		return
	}
	granted := false
	switch req.GrantType {
	case "client_credentials":
		granted = true
	case "password":
		granted = form.Get("username") == c.cfg.Username && form.Get("password") == c.cfg.Password
	case "refresh_token":
		granted = c.useUp(form.Get("refresh_token"))
	}
	if !granted {
		c.refuseToken(w, http.StatusBadRequest, "用户名或密码错误")
		return
	}
	writeJSON(w, http.StatusOK, []byte(c.issue()))
}

// useUp takes a refresh token, which works once.
func (c *CloudCommand) useUp(token string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	ok := c.fresh[token]
	delete(c.fresh, token)
	return ok
}

// issue gives out a token, and returns the answer that has it.
func (c *CloudCommand) issue() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	for token, until := range c.access {
		if !until.IsZero() && !now.Before(until) {
			delete(c.access, token)
		}
	}
	c.issued++
	access := fmt.Sprintf("fake-access-token-%d", c.issued)
	names := [...]string{"access_token", "token_type", "refresh_token", "expires_in"}
	if c.cfg.Camel {
		names = [...]string{"accessToken", "tokenType", "refreshToken", "expiresIn"}
	}
	json := fmt.Sprintf(`{"%s":"%s","%s":"bearer","user_name":"","license":"powered by rolegatetest"`, names[0], access, names[1])
	if !c.cfg.NoRefresh {
		refresh := fmt.Sprintf("fake-refresh-token-%d", c.issued)
		c.fresh[refresh] = true
		json += fmt.Sprintf(`,"%s":"%s"`, names[2], refresh)
	}
	var until time.Time
	if c.cfg.TokenLife > 0 {
		until = now.Add(c.cfg.TokenLife)
		seconds := strconv.FormatInt(int64(c.cfg.TokenLife/time.Second), 10)
		if c.cfg.TextNumbers {
			seconds = `"` + seconds + `"`
		}
		json += fmt.Sprintf(`,"%s":%s`, names[3], seconds)
	}
	c.access[access] = until
	json += "}"
	if c.cfg.Camel {
		json = `{"code":200,"success":true,"data":` + json + `,"msg":"操作成功"}`
	}
	return json
}

func (c *CloudCommand) refuseToken(w http.ResponseWriter, status int, text string) {
	if c.cfg.Camel {
		writeR(w, http.StatusOK, status, text)
		return
	}
	b := strconv.AppendInt([]byte(`{"error_code":`), int64(status), 10)
	b = appendString(append(b, `,"error_description":`...), text)
	writeJSON(w, status, append(b, '}'))
}

// accepts reports whether an access token is good now.
func (c *CloudCommand) accepts(token string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	until, ok := c.access[token]
	return ok && (until.IsZero() || time.Now().Before(until))
}

// RevokeTokens makes the platform refuse every access token that it has given
// out. Refresh tokens are still accepted.
func (c *CloudCommand) RevokeTokens() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.access)
}

// RevokeRefreshTokens makes the platform refuse every refresh token that it has
// given out.
func (c *CloudCommand) RevokeRefreshTokens() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.fresh)
}
