package main

import (
	"bytes"
	"fmt"
)

// frameworks are those of the family Frameworks, and what of casbin stands beside
// rolegate's guard there.
var frameworks = []struct{ name, guard, casbin string }{
	{"gin", "gingate", "as gin-contrib/authz does"},
	{"echo", "echo4gate", "labstack/echo-contrib/casbin itself, for echo 4"},
	{"hertz", "hertzgate", "as hertz-contrib/casbin does"},
	{"kratos", "kratosgate", "as tx7do/kratos-casbin does"},
	{"go-zero", "zerogate", "as zeromicro/zero-contrib does"},
	{"gRPC", "grpcgate", "none is published"},
}

// frameworkTable is what a guard adds to a request in each framework.
func frameworkTable(b *bytes.Buffer, all results) {
	b.WriteString("\n## A guard in each framework\n\nWhat it adds to a request that it admits, in nanoseconds and allocations, beside what a middleware with casbin adds, and how many times rolegate's time that is. Allocations do not depend on what else the machine does; times do, and ratios somewhat.\n\n")
	b.WriteString("| framework | rolegate | ns | allocations | casbin | ns | allocations | ratio |\n| --- | --- | ---: | ---: | --- | ---: | ---: | ---: |\n")
	for _, f := range frameworks {
		fmt.Fprintf(b, "| %s | `%s` |", f.name, f.guard)
		for _, unit := range []string{"ns/request-extra", "allocs/request-extra"} {
			fmt.Fprintf(b, " %s |", cell(all, "Frameworks", f.name, unit))
		}
		fmt.Fprintf(b, " %s |", f.casbin)
		for _, unit := range []string{"casbin-ns/request-extra", "casbin-allocs/request-extra", "×rolegate-extra"} {
			fmt.Fprintf(b, " %s |", cell(all, "Frameworks", f.name, unit))
		}
		b.WriteString("\n")
	}
}
