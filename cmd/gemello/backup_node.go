package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path"

	"github.com/gemello/gemello/actors"
	"github.com/gemello/gemello/api"
)

// backupAdapter writes backups of the running node.
type backupAdapter struct{ n *nodeServers }

var _ api.Backups = backupAdapter{}

func (b backupAdapter) Backup(ctx context.Context, w io.Writer, withKey bool) error {
	var files []actors.BackupFile
	if withKey {
		files = append(files, actors.BackupFile{Name: hubKeyFile, Value: b.n.env.HubKey})
		entries, err := os.ReadDir(b.n.env.Data.join(pkiDir))
		if err != nil && !os.IsNotExist(err) {
			return fmt.Errorf("backup: %w", err)
		}
		for _, e := range entries {
			if !e.Type().IsRegular() {
				continue
			}
			v, err := readSmallFile(b.n.env.Data.join(pkiDir, e.Name()))
			if err != nil {
				return fmt.Errorf("backup: %w", err)
			}
			files = append(files, actors.BackupFile{Name: path.Join(pkiDir, e.Name()), Value: v})
		}
	}
	_, err := b.n.node.Backup(ctx, w, files, withKey)
	return apiError(err)
}
