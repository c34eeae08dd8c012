package gingate

import (
	"fmt"
	"reflect"
	"strings"
	"unsafe"

	"github.com/gin-gonic/gin"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/chiroutes"
)

// Routes lists the routes of a gin engine, and what guards each of them, for
// rolegatetest.RequireGuarded and for console.Config:
//
//	rolegatetest.RequireGuarded(t, chiroutes.Must(gingate.Routes(engine)), "POST /login")
//
// The handlers of NoRoute and NoMethod are routes too, if the app has set them:
// "NotFound /*" and "MethodNotAllowed /*". A guard is seen where it is a handler of
// the route, of its group or of the engine; one inside another handler, such as
// gin.WrapH(gate.Permissions(…)), is not, so that a test names that route as public.
//
// gin does not export its routing tree, which is read by reflection: a future
// version with another layout is an error. It calls no handler and no middleware
// but guards. Do not call it while routes are being registered.
func Routes(engine *gin.Engine) (routes []chiroutes.Route, err error) {
	if engine == nil {
		return nil, fmt.Errorf("rolegate: gingate: Routes: the engine is nil")
	}
	defer func() {
		if v := recover(); v != nil { // of reflect
			routes, err = nil, fmt.Errorf("rolegate: gingate: gin %s keeps its routes in another way than this version of gingate knows: %v", gin.Version, v)
		}
	}()
	inside := reflect.ValueOf(engine).Elem()
	trees := inside.FieldByName("trees")
	for i := range trees.Len() {
		tree := trees.Index(i)
		routes = collect(routes, tree.FieldByName("method").String(), tree.FieldByName("root"))
	}
	for _, fallback := range []struct{ method, own, all string }{
		{chiroutes.MethodNotFound, "noRoute", "allNoRoute"},
		{chiroutes.MethodNotAllowed, "noMethod", "allNoMethod"},
	} {
		if len(chain(inside.FieldByName(fallback.own))) > 0 {
			routes = append(routes, chiroutes.Route{Method: fallback.method, Pattern: "/*", Guards: guards(chain(inside.FieldByName(fallback.all)))})
		}
	}
	return routes, nil
}

// collect adds the routes of a node of gin's tree, and of those below it.
func collect(routes []chiroutes.Route, method string, node reflect.Value) []chiroutes.Route {
	if node = node.Elem(); !node.IsValid() {
		return routes
	}
	if handlers := chain(node.FieldByName("handlers")); len(handlers) > 0 {
		pattern := node.FieldByName("fullPath").String()
		if !strings.HasPrefix(pattern, "/") {
			panic("a route without a path")
		}
		routes = append(routes, chiroutes.Route{Method: method, Pattern: pattern, Guards: guards(handlers)})
	}
	children := node.FieldByName("children")
	for i := range children.Len() {
		routes = collect(routes, method, children.Index(i))
	}
	return routes
}

// chain reads a field that gin does not export.
func chain(field reflect.Value) gin.HandlersChain {
	return reflect.NewAt(field.Type(), unsafe.Pointer(field.UnsafeAddr())).Elem().Interface().(gin.HandlersChain)
}

// policyKey is where a guard that is asked without a request leaves its policy.
type policyKey struct{}

// guards are the policies of the guards in front of the last handler.
func guards(handlers gin.HandlersChain) (policies []*rolegate.Policy) {
	handle := reflect.ValueOf(guard{}.handle).Pointer()
	for _, h := range handlers[:len(handlers)-1] {
		if reflect.ValueOf(h).Pointer() != handle {
			continue
		}
		var c gin.Context
		h(&c)
		if p, ok := c.Get(policyKey{}); ok {
			policies = append(policies, p.(*rolegate.Policy))
		}
	}
	return policies
}
