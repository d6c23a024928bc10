// Package lint checks the source tree against the rules of the project that the
// compiler does not know: which package may import which, what a pure package
// may not do, and habits such as files of a readable size. Its test runs all of
// them over the tree.
//
// A Tree is the parsed source with every build tag and system included. A Rule
// looks at it and returns findings; each finding says where, what, and why.
package lint
