package listing

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A Format is how a list is written.
type Format struct {
	CSV   bool // else JSON lines
	Excel bool // CSV that Excel reads without rounding ids or running formulas
}

// Write writes the list to w until ctx ends, which is then its error.
func (l *List) Write(ctx context.Context, w io.Writer, f Format) error {
	if f.CSV {
		return l.writeCSV(ctx, w, f.Excel)
	}
	return l.writeJSON(ctx, w)
}

// A jsonUser is one line. Numbers of 64 bits are strings: JavaScript, jq and
// others round them above 2^53.
type jsonUser struct {
	UserID   string      `json:"user_id"`
	Sequence string      `json:"sequence"`
	Grants   []jsonGrant `json:"grants"`
	*jsonNames
}

type jsonGrant struct {
	OrgID string `json:"org_id"`
	Role  string `json:"role"`
}

type jsonNames struct {
	Account       string `json:"account"`
	Email         string `json:"email"`
	Nickname      string `json:"nickname"`
	ThirdAccount  string `json:"third_account"`
	ThirdUserID   string `json:"third_user_id"`
	ThirdUserName string `json:"third_user_name"`
}

func (l *List) writeJSON(ctx context.Context, w io.Writer) error {
	lines := json.NewEncoder(w)
	lines.SetEscapeHTML(false)
	line := jsonUser{Grants: []jsonGrant{}}
	for u := range l.Users() {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		line.UserID, line.Sequence, line.Grants = number(u.ID), number(u.Sequence), line.Grants[:0]
		for _, g := range u.Grants {
			line.Grants = append(line.Grants, jsonGrant{number(g.OrgID), g.RoleCode})
		}
		if l.c.names {
			n := u.Names
			line.jsonNames = &jsonNames{n[0], n[1], n[2], n[3], n[4], n[5]}
		}
		if err := lines.Encode(&line); err != nil {
			return err
		}
	}
	return nil
}

func number(n int64) string { return strconv.FormatInt(n, 10) }

func (l *List) writeCSV(ctx context.Context, w io.Writer, excel bool) error {
	table := csv.NewWriter(w)
	number, text := number, func(s string) string { return s }
	if excel {
		if _, err := io.WriteString(w, "\ufeff"); err != nil { // or else Excel takes UTF-8 for something else
			return err
		}
		table.UseCRLF = true
		number, text = func(n int64) string { return excelID(strconv.FormatInt(n, 10)) }, excelText
	}
	row := []string{"user_id", "sequence", "org_id", "role"}
	if l.c.names {
		row = append(row, NameFields[:]...)
	}
	_ = table.Write(row) // Error has it
	for u := range l.Users() {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		row = append(row[:0], number(u.ID), number(u.Sequence), "", "")
		if l.c.names {
			for _, name := range u.Names {
				row = append(row, text(name))
			}
		}
		if len(u.Grants) == 0 {
			_ = table.Write(row)
		}
		for _, g := range u.Grants {
			row[2], row[3] = number(g.OrgID), text(g.RoleCode)
			_ = table.Write(row)
		}
		if err := table.Error(); err != nil {
			return err
		}
	}
	table.Flush()
	return table.Error()
}

// excelID is digits that Excel takes for text: of numbers it keeps 15 digits.
func excelID(digits string) string { return fmt.Sprintf(`="%s"`, digits) }

// excelText is a text that Excel shows as it is. What begins like a formula gets
// an apostrophe before it
// (https://owasp.org/www-community/attacks/CSV_Injection), what has nothing but
// digits is written like an id.
func excelText(s string) string {
	if s == "" {
		return s
	}
	if strings.Trim(s, "0123456789") == "" && len(s) <= 255 { // a formula has no longer texts
		return excelID(s)
	}
	if first, _ := utf8.DecodeRuneInString(s); strings.ContainsRune("=+-@\t\r\n＝＋－＠", first) {
		return "'" + s
	}
	return s
}
