// A school app on gin. It takes the marketplace from ROLEGATE_BASE_URL, ROLEGATE_APP_ID
// and ROLEGATE_ACCESS_TOKEN.
package main

import (
	"context"
	"log"
	"net/http"
	"os"

	"github.com/gin-gonic/gin"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/marketplace"
)

// guarded turns a guard of net/http into one of gin's. It tells the guard the
// route's pattern, for the log, and its parameters, for rolegate.PathOrg.
func guarded(guard func(http.Handler) http.Handler) gin.HandlerFunc {
	return func(c *gin.Context) {
		passed := false
		c.Request.Pattern = c.FullPath()
		for _, p := range c.Params {
			c.Request.SetPathValue(p.Key, p.Value)
		}
		guard(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			passed = true
			c.Request = r // with the user in its context
			c.Next()
		})).ServeHTTP(c.Writer, c.Request)
		if !passed {
			c.Abort()
		}
	}
}

func routes(gate *rolegate.Gate) http.Handler {
	r := gin.New()
	r.Use(gin.Recovery())
	r.Use(guarded(gate.Admit)) // on the list, or out
	r.GET("/grades", guarded(gate.Require(rolegate.AnyRole("teacher", "admin"))), func(c *gin.Context) {
		user, _ := gate.UserFrom(c.Request.Context())
		c.String(http.StatusOK, "grades for %d", user.ID())
	})
	r.POST("/orgs/:orgID/reports", guarded(gate.Require(rolegate.AnyRole("teacher"),
		rolegate.InOrg(rolegate.PathOrg("orgID")))), func(c *gin.Context) {
		org, _ := gate.OrgFrom(c.Request.Context())
		c.String(http.StatusOK, "report filed for %d", org)
	})
	return r
}

func main() {
	gate, err := rolegate.Open(context.Background(), rolegate.Config{
		Source: marketplace.New(marketplace.Config{
			BaseURL: os.Getenv("ROLEGATE_BASE_URL"), AppID: os.Getenv("ROLEGATE_APP_ID"),
			Token: marketplace.TokenFunc(func(context.Context) (string, error) { return os.Getenv("ROLEGATE_ACCESS_TOKEN"), nil }),
		}),
		Identify: rolegate.ByUserID(func(*http.Request) (int64, error) { return 0, rolegate.ErrNobody }), // your login
	})
	if err != nil {
		log.Fatal(err)
	}
	defer gate.Close()
	log.Println(http.ListenAndServe("127.0.0.1:8080", routes(gate)))
}
