package main

import (
	"crypto/rand"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/golang-jwt/jwt/v5"

	"github.com/rolegate/rolegate"
)

// A school has who is logged in. Its maps stand for your tables or your Redis.
type school struct {
	secret []byte
	hub    hub
	drain  time.Duration // how long it answers after the signal

	mu       sync.Mutex
	sessions map[string]int64 // the cookie's value to the marketplace's number of the user
	password func(account, password string) (userID int64, ok bool)
}

func newSchool(secret []byte) (*school, error) {
	if len(secret) < 32 {
		return nil, errors.New("SCHOOL_TOKEN_SECRET: give at least 32 random bytes: openssl rand -base64 32")
	}
	return &school{
		secret: secret, hub: hub{watchers: map[int64]map[chan string]bool{}}, drain: 10 * time.Second, sessions: map[string]int64{},
		password: func(string, string) (int64, bool) { return 0, false }, // your accounts
	}, nil
}

// login begins a session, with a value that cannot be guessed.
func (s *school) login(c *gin.Context) {
	id, ok := s.password(c.PostForm("account"), c.PostForm("password"))
	if !ok {
		c.Status(http.StatusUnauthorized)
		return
	}
	value := rand.Text()
	s.mu.Lock()
	s.sessions[value] = id
	s.mu.Unlock()
	http.SetCookie(c.Writer, &http.Cookie{Name: "session", Value: value, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
	c.Status(http.StatusNoContent)
}

// identify takes the mobile app's token first. A token that is there and no good
// is nobody, also beside a session that is good.
func (s *school) identify() rolegate.Identifier {
	return rolegate.ByUserID(func(r *http.Request) (int64, error) {
		if text, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
			return s.fromToken(text)
		}
		return s.fromCookie(r)
	})
}

// fromToken accepts HS256 and nothing else: neither "none" nor a public key that
// is taken for a secret.
func (s *school) fromToken(text string) (int64, error) {
	var claims jwt.RegisteredClaims
	_, err := jwt.ParseWithClaims(text, &claims, func(*jwt.Token) (any, error) { return s.secret, nil },
		jwt.WithValidMethods([]string{"HS256"}), jwt.WithExpirationRequired(), jwt.WithAudience("school-mobile"), jwt.WithLeeway(time.Minute))
	if err != nil {
		return 0, rolegate.ErrNobody
	}
	id, err := strconv.ParseInt(claims.Subject, 10, 64)
	if err != nil {
		return 0, rolegate.ErrNobody
	}
	return id, nil
}

func (s *school) fromCookie(r *http.Request) (int64, error) {
	cookie, err := r.Cookie("session")
	if err != nil {
		return 0, rolegate.ErrNobody
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id, ok := s.sessions[cookie.Value]
	if !ok {
		return 0, rolegate.ErrNobody
	}
	return id, nil
}
