// Command example is a school app on chi behind a rolegate.Gate.
//
//	go run ./example
//
// starts it together with a fake marketplace, sends it a walk-through of
// requests, prints what became of each, and goes on serving. With
// ROLEGATE_BASE_URL, ROLEGATE_APP_ID and ROLEGATE_ACCESS_TOKEN set it uses that
// marketplace instead, without a walk-through. ROLEGATE_REFRESH and
// ROLEGATE_RESYNC are how often it makes incremental and full refreshes.
//
// With -cache FILE it keeps the last good list in that file, so that it serves
// at once when it is started while the marketplace is away. The folder of the
// file must be writable by nobody else. The fake marketplace ends with the
// program, and the next one is another: the walk-through ends with the command
// that starts the app with the list of the one that is gone.
//
// example/replicas is the same app that shares its list with others by Redis.
//
// Users come from the header X-User-Id, which is believed only from this
// machine: a real app has a login. Browsers send no such header: the
// walk-through prints an address with a secret key in it, by which one becomes
// the admin and sees the console.
package main

import "github.com/rolegate/rolegate/example/internal/school"

func main() { school.Main("example", nil) }
