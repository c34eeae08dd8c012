package main

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strings"
)

// A schema rewrites a file so that it has all its mutants in it, of which one
// runs at a time. The mutants of an operand stand only where its operator is as
// it was, so that the text grows with the square of its depth at most.
type schema struct {
	*source
	data     []byte
	info     *types.Info
	pkg      *types.Package
	first    int          // the number of the first mutant
	excluded map[int]bool // numbers of mutants that do not compile
	all      []mutant

	parents map[ast.Node]ast.Node
	marks   map[ast.Node][]numbered
}

// A numbered is a mutant of a node.
type numbered struct {
	swap
	id int
}

// rewrite returns the file with all mutants but the excluded ones.
func (s *schema) rewrite() string {
	s.parents, s.marks = map[ast.Node]ast.Node{}, map[ast.Node][]numbered{}
	var path []ast.Node
	ast.Inspect(s.file, func(n ast.Node) bool {
		if n == nil {
			path = path[:len(path)-1]
			return true
		}
		if len(path) > 0 {
			s.parents[n] = path[len(path)-1]
		}
		path = append(path, n)
		s.mark(n)
		return true
	})
	return s.text(s.file, false)
}

// mark finds out what a node can become.
func (s *schema) mark(n ast.Node) {
	var at token.Pos
	var op token.Token
	switch n := n.(type) {
	case *ast.BinaryExpr:
		at, op = n.OpPos, n.Op
		typ := s.info.TypeOf(n)
		if s.constant(n) || helpers[op] != "" && (!number(typ) || !s.named(typ)) {
			return
		}
	case *ast.UnaryExpr:
		if n.Op == token.SUB && !s.constant(n) && number(s.info.TypeOf(n)) {
			s.add(n, n.OpPos, swap{negative, token.ADD})
		}
		return
	case *ast.IncDecStmt:
		if !s.named(s.info.TypeOf(n.X)) {
			return
		}
		at, op = n.TokPos, n.Tok
	case *ast.AssignStmt:
		if !s.inBlock(n) || !number(s.info.TypeOf(n.Lhs[0])) {
			return
		}
		at, op = n.TokPos, n.Tok
	case *ast.BranchStmt:
		if !s.inBlock(n) || n.Label != nil || !s.inLoop(n) {
			return
		}
		at, op = n.TokPos, n.Tok
	default:
		return
	}
	for _, to := range swaps[op] {
		s.add(n, at, to)
	}
}

func (s *schema) add(n ast.Node, at token.Pos, to swap) {
	pos := s.set.Position(at)
	text, err := s.marked(pos.Line, pos.Column)
	if err != nil {
		return
	}
	id := s.first + len(s.all)
	s.all = append(s.all, mutant{key: key{s.name, s.function(pos.Line), to.kind, text}, line: pos.Line, column: pos.Column})
	if !s.excluded[id] {
		s.marks[n] = append(s.marks[n], numbered{to, id})
	}
}

func (s *schema) constant(e ast.Expr) bool { return s.info.Types[e].Value != nil }

func number(t types.Type) bool {
	if t == nil {
		return false // the blank identifier has no type
	}
	b, ok := t.Underlying().(*types.Basic)
	return ok && b.Info()&types.IsNumeric != 0 && b.Info()&types.IsComplex == 0
}

// named reports whether the file can name a type.
func (s *schema) named(t types.Type) bool {
	if !number(t) {
		return false
	}
	_, ok := s.typeName(t)
	return ok
}

func (s *schema) typeName(t types.Type) (string, bool) {
	ok := true
	name := types.TypeString(t, func(p *types.Package) string {
		if p == s.pkg {
			return ""
		}
		for _, i := range s.file.Imports {
			if strings.Trim(i.Path.Value, `"`) == p.Path() {
				if i.Name != nil {
					return i.Name.Name
				}
				return p.Name()
			}
		}
		ok = false
		return ""
	})
	return name, ok
}

// inBlock reports whether a statement stands where an if could.
func (s *schema) inBlock(n ast.Node) bool {
	switch p := s.parents[n].(type) {
	case *ast.BlockStmt, *ast.CaseClause:
		return true
	case *ast.CommClause:
		return p.Comm != n
	}
	return false
}

func (s *schema) inLoop(n ast.Node) bool {
	for p := s.parents[n]; p != nil; p = s.parents[p] {
		switch p.(type) {
		case *ast.ForStmt, *ast.RangeStmt:
			return true
		case *ast.FuncLit, *ast.FuncDecl:
			return false
		}
	}
	return false
}

// text is a node's source, with mutants in it unless it is to be plain.
func (s *schema) text(n ast.Node, plain bool) string {
	if plain {
		return string(s.data[s.offset(n.Pos()):s.offset(n.End())])
	}
	if marks := s.marks[n]; len(marks) > 0 {
		return s.mutated(n, marks)
	}
	return s.inside(n)
}

func (s *schema) offset(p token.Pos) int { return s.set.Position(p).Offset }

// inside is a node's source with the mutants of its children.
func (s *schema) inside(n ast.Node) string {
	var b strings.Builder
	begin, end := n.Pos(), n.End()
	if f, ok := n.(*ast.File); ok {
		begin, end = f.FileStart, f.FileEnd
	}
	at := s.offset(begin)
	var children []ast.Node
	ast.Inspect(n, func(c ast.Node) bool {
		if c == n {
			return true
		}
		if c != nil {
			if _, comment := c.(*ast.CommentGroup); !comment {
				children = append(children, c)
			}
		}
		return false
	})
	slices.SortFunc(children, func(a, b ast.Node) int { return int(a.Pos() - b.Pos()) })
	for _, c := range children {
		if s.offset(c.Pos()) < at {
			continue // a name that a field shares with its type
		}
		b.Write(s.data[at:s.offset(c.Pos())])
		b.WriteString(s.text(c, false))
		at = s.offset(c.End())
	}
	b.Write(s.data[at:s.offset(end)])
	return b.String()
}

// mutated is a node that becomes something else if its mutant runs.
func (s *schema) mutated(n ast.Node, marks []numbered) string {
	switch n := n.(type) {
	case *ast.BinaryExpr:
		if was := helpers[n.Op]; was != "" {
			return s.computed(n, was, marks[0])
		}
		var b strings.Builder
		b.WriteString("(")
		other := ""
		for _, m := range marks {
			fmt.Fprintf(&b, "mutantOn(%d) && ((%s) %s (%s)) || ", m.id, s.text(n.X, true), m.to, s.text(n.Y, true))
			other += fmt.Sprintf("!mutantOn(%d) && ", m.id)
		}
		// The operator stays at its line: a newline may follow it.
		fmt.Fprintf(&b, "%s(%s))", other, s.inside(n))
		return b.String()
	case *ast.UnaryExpr:
		return fmt.Sprintf("mutantSign(%d, %s)", marks[0].id, s.text(n.X, false))
	case *ast.IncDecStmt:
		name, _ := s.typeName(s.info.TypeOf(n.X))
		op := "+="
		if n.Tok == token.DEC {
			op = "-="
		}
		return fmt.Sprintf("%s %s mutantStep[%s](%d)", s.text(n.X, false), op, name, marks[0].id)
	case *ast.AssignStmt:
		var b strings.Builder
		for _, m := range marks {
			fmt.Fprintf(&b, "if mutantOn(%d) { %s %s %s } else ", m.id, s.text(n.Lhs[0], true), m.to, s.text(n.Rhs[0], true))
		}
		fmt.Fprintf(&b, "{ %s }", s.inside(n))
		return b.String()
	default: // a *ast.BranchStmt
		return fmt.Sprintf("if mutantOn(%d) { %s } else { %s }", marks[0].id, marks[0].to, s.inside(n))
	}
}

// computed is an operation by functions, for its type could not be named in an
// if. Its operands are of that type: an untyped constant is converted.
func (s *schema) computed(n *ast.BinaryExpr, was string, m numbered) string {
	name, _ := s.typeName(s.info.TypeOf(n))
	second := name
	if n.Op == token.SHL || n.Op == token.SHR {
		second, _ = s.typeName(s.info.TypeOf(n.Y))
		if s.constant(n.Y) {
			second = "uint"
		}
		return fmt.Sprintf("mutantBoth(%d, %s[%s, %s], %s[%[3]s, %[4]s], %[3]s(%[6]s), %[4]s(%[7]s))", m.id, was, name, second, helpers[m.to], s.text(n.X, false), s.text(n.Y, false))
	}
	return fmt.Sprintf("mutantBoth(%d, %s[%s], %s[%[3]s], %[3]s(%[5]s), %[3]s(%[6]s))", m.id, was, name, helpers[m.to], s.text(n.X, false), s.text(n.Y, false))
}
