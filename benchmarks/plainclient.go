package benchmarks

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
)

// A plainClient reads the list as a competent programmer does it in an
// afternoon: encoding/json, structs with just the fields that are needed, role
// codes turned into numbers, no page without a check of its status and code.
type plainClient struct {
	http  *http.Client
	base  string
	roles map[string]uint16
}

type plainPage struct {
	Code    int         `json:"code"`
	Message string      `json:"message"`
	Data    []plainUser `json:"data"`
}

type plainUser struct {
	UserID       int64       `json:"userId"`
	LastSequence int64       `json:"lastSequence"`
	RoleList     []plainRole `json:"roleList"`
}

type plainRole struct {
	OrgID    int64  `json:"orgId"`
	RoleCode string `json:"roleCode"`
}

// readAll reads the whole list into a map.
func (c *plainClient) readAll(ctx context.Context) (map[int64][]grant, error) {
	grants := map[int64][]grant{}
	for last := int64(0); ; {
		page, err := c.page(ctx, last)
		if err != nil {
			return nil, err
		}
		if len(page.Data) == 0 {
			return grants, nil
		}
		for _, u := range page.Data {
			gs := make([]grant, len(u.RoleList))
			for i, r := range u.RoleList {
				gs[i] = grant{org: r.OrgID, role: c.role(r.RoleCode)}
			}
			grants[u.UserID] = gs
			last = max(last, u.LastSequence)
		}
	}
}

// role returns the number of a role, a new one for a code that is new.
func (c *plainClient) role(code string) uint16 {
	number, ok := c.roles[code]
	if !ok {
		number = uint16(len(c.roles))
		c.roles[code] = number
	}
	return number
}

func (c *plainClient) page(ctx context.Context, last int64) (plainPage, error) {
	url := c.base + "/app/user/list?accessToken=" + accessToken +
		"&lastSequence=" + strconv.FormatInt(last, 10) + "&limit=" + strconv.Itoa(pageSize)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return plainPage{}, err
	}
	req.Header.Set("X-App-Id", appID)
	res, err := c.http.Do(req)
	if err != nil {
		return plainPage{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return plainPage{}, err
	}
	if res.StatusCode != http.StatusOK {
		return plainPage{}, fmt.Errorf("status %d", res.StatusCode)
	}
	var page plainPage
	if err := json.Unmarshal(body, &page); err != nil {
		return plainPage{}, err
	}
	if page.Code != http.StatusOK {
		return plainPage{}, fmt.Errorf("code %d: %s", page.Code, page.Message)
	}
	return page, nil
}
