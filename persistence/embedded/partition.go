package embedded

import (
	"cmp"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// partitionDir is a directory of segments.
type partitionDir struct {
	topic    string
	number   int32
	path     string
	segments []segmentFile // by base
}

type segmentFile struct {
	base    int64
	size    int64
	written time.Time
}

// partitionPath is where the broker keeps a partition.
func partitionPath(dir, topic string, number int32) string {
	return filepath.Join(dir, "partitions", fmt.Sprintf("%s-%d", url.PathEscape(topic), number))
}

// listPartitions reads what partitions the directory has.
func listPartitions(dir string) ([]partitionDir, error) {
	entries, err := os.ReadDir(filepath.Join(dir, "partitions"))
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var ps []partitionDir
	for _, e := range entries {
		cut := strings.LastIndexByte(e.Name(), '-')
		if !e.IsDir() || cut < 0 {
			continue
		}
		topic, err := url.PathUnescape(e.Name()[:cut])
		if err != nil {
			continue
		}
		number, err := strconv.ParseInt(e.Name()[cut+1:], 10, 32)
		if err != nil {
			continue
		}
		p := partitionDir{topic: topic, number: int32(number), path: filepath.Join(dir, "partitions", e.Name())}
		if p.segments, err = listSegments(p.path); err != nil {
			return nil, err
		}
		ps = append(ps, p)
	}
	return ps, nil
}

func listSegments(path string) ([]segmentFile, error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var segments []segmentFile
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".dat")
		if !ok {
			continue
		}
		base, err := strconv.ParseInt(name, 10, 64)
		if err != nil {
			continue
		}
		info, err := e.Info()
		if os.IsNotExist(err) {
			continue // deleted meanwhile
		}
		if err != nil {
			return nil, err
		}
		segments = append(segments, segmentFile{base, info.Size(), info.ModTime()})
	}
	slices.SortFunc(segments, func(a, b segmentFile) int { return cmp.Compare(a.base, b.base) })
	return segments, nil
}
