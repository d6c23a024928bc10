package embedded

import (
	"context"
	"log/slog"
)

// recoverDir repairs the directory of a server that was not closed in order.
func recoverDir(ctx context.Context, dir string, log *slog.Logger) error {
	return restoreSaved(dir)
}
