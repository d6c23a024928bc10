package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// runInfo is run.json: how commands on the same machine find a node. It is
// there while the node is ready.
type runInfo struct {
	PID       int                 `json:"pid"`
	Version   string              `json:"version"`
	Hub       string              `json:"hub"`
	StartedAt time.Time           `json:"startedAt"`
	Admin     string              `json:"admin"` // URL
	TokenFile string              `json:"tokenFile"`
	Hostnames []string            `json:"hostnames"`
	Ports     map[string]int      `json:"ports"`  // listener → port
	Listen    map[string][]string `json:"listen"` // listener → addresses
	Kafka     []string            `json:"kafka"`  // where Kafka clients read results
	CA        string              `json:"ca,omitempty"`
}

func (d *dataDir) writeRunInfo(r *runInfo) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", runFile, err)
	}
	return writeFileAtomic(d.join(runFile), append(b, '\n'), 0o600)
}

func (d *dataDir) removeRunInfo() error {
	if err := os.Remove(d.join(runFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// readRunInfo reads the run.json of a data directory.
func readRunInfo(data string) (*runInfo, error) {
	name := filepath.Join(data, runFile)
	b, err := readSmallFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, usagef("no node runs on the data directory %q (no %s there); start one with gemello serve, or name one with --data, or with --admin and --token-file", data, runFile)
	}
	if err != nil {
		return nil, usagef("%v; give this user the right to read it, or use --admin and --token-file", err)
	}
	r := new(runInfo)
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return r, nil
}
