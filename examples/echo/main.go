// A school app on echo. It takes the marketplace from ROLEGATE_BASE_URL, ROLEGATE_APP_ID
// and ROLEGATE_ACCESS_TOKEN.
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"

	"github.com/labstack/echo/v5"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/marketplace"
)

func routes(gate *rolegate.Gate) http.Handler {
	e := echo.New()
	e.Use(echo.WrapMiddleware(gate.Admit)) // on the list, or out
	e.GET("/grades", func(c *echo.Context) error {
		user, _ := gate.UserFrom(c.Request().Context())
		return c.String(http.StatusOK, fmt.Sprintf("grades for %d", user.ID()))
	}, echo.WrapMiddleware(gate.Require(rolegate.AnyRole("teacher", "admin"))))
	e.POST("/orgs/:orgID/reports", func(c *echo.Context) error {
		org, _ := gate.OrgFrom(c.Request().Context())
		return c.String(http.StatusOK, fmt.Sprintf("report filed for %d", org))
	}, echo.WrapMiddleware(gate.Require(rolegate.AnyRole("teacher"), rolegate.InOrg(rolegate.PathOrg("orgID")))))
	return e
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
