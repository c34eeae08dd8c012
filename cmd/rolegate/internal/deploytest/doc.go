// Package deploytest has the tests of the files in the folder deploy, which
// nothing else here reads. They need none of the programs that the files are for.
package deploytest
