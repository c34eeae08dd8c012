// Package carry brings what a handler has written into its copy of a request back
// into the request itself. It serves the root.
package carry

import (
	"bytes"
	"net/http"
	"reflect"
	"slices"
	"unsafe"
)

// Back writes into r what a handler has written into seen, the copy of r
// that it got: a middleware outside sees the pattern and the path values that
// the routing has found, and net/http, which cleans up only the request that it
// made, finds the files of an upload. The context is not carried back;
// GetBody, Cancel and Response are for clients alone.
//
// What the handler has left alone is not written either: another goroutine of
// the app may be reading it.
func Back(r, seen *http.Request) {
	carry(&r.Pattern, seen.Pattern)
	carryPathValues(r, seen)
	carry(&r.Method, seen.Method)
	carry(&r.URL, seen.URL)
	carry(&r.Proto, seen.Proto)
	carry(&r.ProtoMajor, seen.ProtoMajor)
	carry(&r.ProtoMinor, seen.ProtoMinor)
	carryMap(&r.Header, seen.Header)
	if !sameBody(r.Body, seen.Body) {
		r.Body = seen.Body
	}
	carry(&r.ContentLength, seen.ContentLength)
	if !slices.Equal(r.TransferEncoding, seen.TransferEncoding) {
		r.TransferEncoding = seen.TransferEncoding
	}
	carry(&r.Close, seen.Close)
	carry(&r.Host, seen.Host)
	carryMap(&r.Form, seen.Form)
	carryMap(&r.PostForm, seen.PostForm)
	carry(&r.MultipartForm, seen.MultipartForm)
	carryMap(&r.Trailer, seen.Trailer)
	carry(&r.RemoteAddr, seen.RemoteAddr)
	carry(&r.RequestURI, seen.RequestURI)
	carry(&r.TLS, seen.TLS)
}

func carry[T comparable](to *T, seen T) {
	if *to != seen {
		*to = seen
	}
}

// carryMap carries another map; what was written into the same one is there.
func carryMap[M ~map[string][]string](to *M, seen M) {
	if *(*unsafe.Pointer)(unsafe.Pointer(to)) != *(*unsafe.Pointer)(unsafe.Pointer(&seen)) { // a map is one pointer
		*to = seen
	}
}

// sameBody reports whether two bodies are one. It does not know it of types
// that Go cannot compare.
func sameBody(a, b any) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return reflect.TypeOf(a) == reflect.TypeOf(b) && reflect.TypeOf(a).Comparable() && a == b
}

// pathValues are the fields in which net/http keeps what the routing has found. Where a
// release of Go has others, the tests of this package say so, and path values are not
// carried.
var pathValues = func() (fields []reflect.StructField) {
	for _, name := range []string{"pat", "matches", "otherValues"} {
		if f, ok := reflect.TypeFor[http.Request]().FieldByName(name); ok {
			fields = append(fields, f)
		}
	}
	return fields
}()

// carryPathValues carries the path values of a route, and those that a handler has set.
func carryPathValues(r, seen *http.Request) {
	for i := range pathValues {
		f := &pathValues[i]
		a, b := unsafe.Add(unsafe.Pointer(r), f.Offset), unsafe.Add(unsafe.Pointer(seen), f.Offset)
		if !bytes.Equal(unsafe.Slice((*byte)(a), f.Type.Size()), unsafe.Slice((*byte)(b), f.Type.Size())) {
			reflect.NewAt(f.Type, a).Elem().Set(reflect.NewAt(f.Type, b).Elem())
		}
	}
}
