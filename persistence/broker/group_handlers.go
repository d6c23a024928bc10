package broker

// groups drives the groups of consumers.
type groups struct{}

func newGroups(s *Server) *groups { return &groups{} }

// active reports whether the group has members.
func (g *groups) active(group string) bool { return false }

// close ends what the groups run. Members that wait are not answered.
func (g *groups) close() {}

func (s *Server) groupHandlers() []handler { return nil }
