package main

import (
	"flag"
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	flag.Parse()
	_ = flag.Set("test.parallel", "8") // most of what takes time waits between attempts
	// English, whatever the machine speaks; its character set stays.
	_ = os.Unsetenv("LC_ALL")
	_ = os.Setenv("LC_MESSAGES", "C")
	goleak.VerifyTestMain(m)
}
