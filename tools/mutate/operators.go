package main

import "go/token"

// The kinds of mutation are those of gremlins, by the same names, but for
// constant expressions, which cannot be chosen while a program runs.
const (
	boundary   = "CONDITIONALS_BOUNDARY"
	negation   = "CONDITIONALS_NEGATION"
	arithmetic = "ARITHMETIC_BASE"
	bitwise    = "INVERT_BITWISE"
	logical    = "INVERT_LOGICAL"
	negative   = "INVERT_NEGATIVES"
	step       = "INCREMENT_DECREMENT"
	assignment = "INVERT_ASSIGNMENTS"
	bwassign   = "INVERT_BWASSIGN"
	selfAssign = "REMOVE_SELF_ASSIGNMENTS"
	loopctrl   = "INVERT_LOOPCTRL"
)

// A swap is what an operator becomes.
type swap struct {
	kind string
	to   token.Token
}

// swaps are those of an operator, in expressions and in assignments.
var swaps = map[token.Token][]swap{
	token.LSS: {{boundary, token.LEQ}, {negation, token.GEQ}},
	token.LEQ: {{boundary, token.LSS}, {negation, token.GTR}},
	token.GTR: {{boundary, token.GEQ}, {negation, token.LEQ}},
	token.GEQ: {{boundary, token.GTR}, {negation, token.LSS}},
	token.EQL: {{negation, token.NEQ}},
	token.NEQ: {{negation, token.EQL}},

	token.LAND: {{logical, token.LOR}},
	token.LOR:  {{logical, token.LAND}},

	token.ADD: {{arithmetic, token.SUB}},
	token.SUB: {{arithmetic, token.ADD}},
	token.MUL: {{arithmetic, token.QUO}},
	token.QUO: {{arithmetic, token.MUL}},
	token.REM: {{arithmetic, token.MUL}},

	token.AND:     {{bitwise, token.OR}},
	token.OR:      {{bitwise, token.AND}},
	token.XOR:     {{bitwise, token.AND}},
	token.AND_NOT: {{bitwise, token.AND}},
	token.SHL:     {{bitwise, token.SHR}},
	token.SHR:     {{bitwise, token.SHL}},

	token.INC: {{step, token.DEC}},
	token.DEC: {{step, token.INC}},

	token.ADD_ASSIGN:     {{assignment, token.SUB_ASSIGN}, {selfAssign, token.ASSIGN}},
	token.SUB_ASSIGN:     {{assignment, token.ADD_ASSIGN}, {selfAssign, token.ASSIGN}},
	token.MUL_ASSIGN:     {{assignment, token.QUO_ASSIGN}, {selfAssign, token.ASSIGN}},
	token.QUO_ASSIGN:     {{assignment, token.MUL_ASSIGN}, {selfAssign, token.ASSIGN}},
	token.REM_ASSIGN:     {{assignment, token.MUL_ASSIGN}, {selfAssign, token.ASSIGN}},
	token.AND_ASSIGN:     {{bwassign, token.OR_ASSIGN}, {selfAssign, token.ASSIGN}},
	token.OR_ASSIGN:      {{bwassign, token.AND_ASSIGN}, {selfAssign, token.ASSIGN}},
	token.XOR_ASSIGN:     {{bwassign, token.AND_ASSIGN}, {selfAssign, token.ASSIGN}},
	token.AND_NOT_ASSIGN: {{bwassign, token.AND_ASSIGN}, {selfAssign, token.ASSIGN}},
	token.SHL_ASSIGN:     {{bwassign, token.SHR_ASSIGN}, {selfAssign, token.ASSIGN}},
	token.SHR_ASSIGN:     {{bwassign, token.SHL_ASSIGN}, {selfAssign, token.ASSIGN}},

	token.BREAK:    {{loopctrl, token.CONTINUE}},
	token.CONTINUE: {{loopctrl, token.BREAK}},
}

// switchFile is what a mutated package gets besides. A test runs the mutant whose
// number is in MUTANT, or, if MUTANT_TRACE names a file, none, and writes the
// numbers of those that it came by into that file.
const switchFile = `
import (
	mutantOS "os"
	mutantStrconv "strconv"
	mutantAtomic "sync/atomic"
)

var (
	mutantNow, _ = mutantStrconv.Atoi(mutantOS.Getenv("MUTANT"))
	mutantFile   = mutantOpen()
	mutantSeen   [1 << 16]mutantAtomic.Bool
)

func mutantOpen() *mutantOS.File {
	f, _ := mutantOS.OpenFile(mutantOS.Getenv("MUTANT_TRACE"), mutantOS.O_APPEND|mutantOS.O_CREATE|mutantOS.O_WRONLY, 0o600)
	return f
}

func mutantOn(id int) bool { return mutantNow == id || mutantFile != nil && mutantTrace(id) }

func mutantTrace(id int) bool {
	if !mutantSeen[id].Load() && !mutantSeen[id].Swap(true) {
		_, _ = mutantFile.WriteString(mutantStrconv.Itoa(id) + "\n")
	}
	return false
}

type mutantInt interface {
	~int | ~int8 | ~int16 | ~int32 | ~int64 | ~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~uintptr
}

type mutantNumber interface{ mutantInt | ~float32 | ~float64 }

func mutantADD[T mutantNumber](a, b T) T { return a + b }
func mutantSUB[T mutantNumber](a, b T) T { return a - b }
func mutantMUL[T mutantNumber](a, b T) T { return a * b }
func mutantQUO[T mutantNumber](a, b T) T { return a / b }
func mutantREM[T mutantInt](a, b T) T { return a % b }
func mutantAND[T mutantInt](a, b T) T { return a & b }
func mutantOR[T mutantInt](a, b T) T { return a | b }
func mutantXOR[T mutantInt](a, b T) T { return a ^ b }
func mutantANDNOT[T mutantInt](a, b T) T { return a &^ b }
func mutantSHL[T, U mutantInt](a T, b U) T { return a << b }
func mutantSHR[T, U mutantInt](a T, b U) T { return a >> b }

func mutantBoth[T, U any](id int, was, is func(T, U) T, a T, b U) T {
	if mutantOn(id) {
		return is(a, b)
	}
	return was(a, b)
}

func mutantSign[T mutantNumber](id int, a T) T {
	if mutantOn(id) {
		return a
	}
	return -a
}

func mutantStep[T mutantNumber](id int) T {
	var zero T
	if mutantOn(id) {
		return zero - 1
	}
	return 1
}
`

// helpers are the names of switchFile's functions.
var helpers = map[token.Token]string{
	token.ADD: "mutantADD", token.SUB: "mutantSUB", token.MUL: "mutantMUL", token.QUO: "mutantQUO", token.REM: "mutantREM",
	token.AND: "mutantAND", token.OR: "mutantOR", token.XOR: "mutantXOR", token.AND_NOT: "mutantANDNOT",
	token.SHL: "mutantSHL", token.SHR: "mutantSHR",
}
