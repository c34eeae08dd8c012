package chiroutes_test

import (
	"context"
	"fmt"
	"net/http"

	"github.com/go-chi/chi/v5"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/chiroutes"
	"github.com/rolegate/rolegate/rolegatetest"
)

func exampleGate() *rolegate.Gate {
	gate, err := rolegate.Open(context.Background(), rolegate.Config{
		Source:   rolegatetest.NewStatic(),
		Identify: rolegate.ByUserID(func(*http.Request) (int64, error) { return 0, rolegate.ErrNobody }),
	})
	if err != nil {
		panic(err)
	}
	return gate
}

func page(http.ResponseWriter, *http.Request) {}

// In a test of the app: no route is open that nobody has thought about.
func ExampleRoutes() {
	gate := exampleGate()
	defer gate.Close()
	r := chi.NewRouter()
	r.Get("/healthz", page)
	r.Group(func(r chi.Router) {
		r.Use(gate.Admit)
		r.Get("/lessons", page)
		r.With(gate.Require(rolegate.AnyRole("teacher"))).Post("/grades", page)
	})
	r.NotFound(page)

	routes, err := chiroutes.Routes(r)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, route := range routes {
		fmt.Printf("%v: guarded %t %v\n", route, route.Guarded(), route.Guards)
	}
	// Unordered output:
	// GET /healthz: guarded false []
	// GET /lessons: guarded true [Admit]
	// POST /grades: guarded true [Admit AnyRole(teacher)]
	// NotFound /*: guarded false []
}

func ExampleServeMux() {
	gate := exampleGate()
	defer gate.Close()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", page)
	mux.Handle("POST /grades/{id}", gate.Require(rolegate.AnyRole("teacher"))(http.HandlerFunc(page)))

	routes, err := chiroutes.ServeMux(mux)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, route := range routes {
		fmt.Printf("%v: guarded %t %v\n", route, route.Guarded(), route.Guards)
	}
	// Output:
	// GET /healthz: guarded false []
	// POST /grades/{id}: guarded true [AnyRole(teacher)]
}
