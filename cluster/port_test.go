package cluster

import (
	"bufio"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// listening gives the sockets that this process listens on, as the kernel names them.
func listening(t *testing.T) map[string]string {
	t.Helper()
	mine := map[string]bool{}
	fds, err := filepath.Glob("/proc/self/fd/*")
	if err != nil || len(fds) == 0 {
		t.Skip("needs Linux's /proc")
	}
	for _, fd := range fds {
		if target, err := os.Readlink(fd); err == nil {
			if inode, ok := strings.CutPrefix(target, "socket:["); ok {
				mine[strings.TrimSuffix(inode, "]")] = true
			}
		}
	}
	open := map[string]string{}
	for _, table := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
		f, err := os.Open(table)
		if err != nil {
			continue
		}
		defer f.Close()
		for lines := bufio.NewScanner(f); lines.Scan(); {
			const address, state, inode, listen = 1, 3, 9, "0A"
			field := strings.Fields(lines.Text())
			if len(field) > inode && field[state] == listen && mine[field[inode]] {
				open[field[inode]] = field[address]
			}
		}
	}
	return open
}

func TestOnlyMemberOpensNoPort(t *testing.T) {
	f := newFixture(t, nil)
	f.mustAsk("dev", "hello")
	if open := listening(t); len(open) > 0 {
		t.Errorf("the process listens on %v", open)
	}
	// The check itself can see a port.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if open := listening(t); len(open) != 1 {
		t.Errorf("the check finds %v where one port is open", open)
	}
}
