// Package backup reads and writes the file of a hub's backup
// (docs/format/backup.md): a header, the records of the state topic, the hub's
// settings, files of the data directory, and an end with a checksum of the whole.
//
// A file without its end is not a backup: a Reader answers ErrPartial, however
// much of it can be read. Both directions stream; no more than one frame is in
// memory. The package knows bytes, not what they mean.
package backup
