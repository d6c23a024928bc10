package broker

func (s *Server) txnHandlers() []handler { return nil }
