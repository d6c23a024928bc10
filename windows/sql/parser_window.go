package sql

// windowWord returns the kind of window that a function name stands for.
func windowWord(word string) (windowKind, bool) {
	switch word {
	case "TUMBLINGWINDOW", "TUMBLING":
		return tumbling, true
	case "HOPPINGWINDOW", "HOPPING":
		return hopping, true
	case "SLIDINGWINDOW", "SLIDING":
		return sliding, true
	case "SESSIONWINDOW", "SESSION":
		return session, true
	}
	return 0, false
}

func (p *parser) groupItem() (groupItem, error) {
	g := groupItem{pos: p.peek().pos}
	if p.ahead(1).kind == tokSymbol && p.ahead(1).text == "(" {
		word := p.peek().upper()
		if _, ok := windowWord(word); ok {
			w, err := p.window()
			g.windows = []*windowDef{w}
			return g, err
		}
		if word == "WINDOWS" {
			g.multi = true
			p.at += 2
			for {
				w, err := p.namedWindow()
				if err != nil {
					return g, err
				}
				g.windows = append(g.windows, w)
				if !p.symbol(",") {
					return g, p.needSymbol(")")
				}
			}
		}
		if word == "WINDOW" {
			return g, errorAt(g.pos, "Windows(…)", "Window('id', …) outside of Windows(…)")
		}
	}
	x, err := p.expr()
	g.expr = x
	return g, err
}

// namedWindow reads window or Window('id', window).
func (p *parser) namedWindow() (*windowDef, error) {
	if !p.is("WINDOW") {
		return p.window()
	}
	p.at++
	if err := p.needSymbol("("); err != nil {
		return nil, err
	}
	if p.peek().kind != tokString {
		return nil, p.unexpected("the window's id as a string")
	}
	id := p.take().text
	if err := p.needSymbol(","); err != nil {
		return nil, err
	}
	w, err := p.window()
	if err != nil {
		return nil, err
	}
	w.named, w.id = true, id
	return w, p.needSymbol(")")
}

func (p *parser) window() (*windowDef, error) {
	t := p.peek()
	kind, ok := windowWord(t.upper())
	if !ok {
		return nil, p.unexpected("TumblingWindow, HoppingWindow, SlidingWindow or SessionWindow")
	}
	p.at++
	w := &windowDef{pos: t.pos, kind: kind}
	if err := p.needSymbol("("); err != nil {
		return nil, err
	}
	var err error
	if kind == session {
		err = p.sessionSpans(w)
	} else {
		err = p.windowSpans(w)
	}
	if err != nil {
		return nil, err
	}
	if err := p.needSymbol(")"); err != nil {
		return nil, err
	}
	if kind == session && p.word("OVER") {
		if err := p.needSymbol("("); err != nil {
			return nil, err
		}
		if err := p.need("PARTITION"); err != nil {
			return nil, err
		}
		if err := p.need("BY"); err != nil {
			return nil, err
		}
		if w.by, err = p.expr(); err != nil {
			return nil, err
		}
		return w, p.needSymbol(")")
	}
	return w, nil
}

// windowSpans reads dur [',' hop] [',' off]; bare numbers share the size's
// unit.
func (p *parser) windowSpans(w *windowDef) error {
	var err error
	if w.size, err = p.duration(); err != nil {
		return err
	}
	if w.kind == hopping {
		if err := p.needSymbol(","); err != nil {
			return err
		}
		if w.hop, err = p.part("HOP", w.size.unit, false); err != nil {
			return err
		}
	}
	if w.kind != sliding && p.symbol(",") {
		off, err := p.part("OFFSET", w.size.unit, true)
		w.offset = &off
		return err
	}
	return nil
}

// sessionSpans reads unit, gap, longest or Timeout(…), MaxDuration(…).
func (p *parser) sessionSpans(w *windowDef) error {
	var err error
	if p.is("TIMEOUT") {
		if w.size, err = p.part("TIMEOUT", noUnit, false); err != nil {
			return err
		}
	} else if w.size, err = p.unitAndCount(false); err != nil {
		return err
	}
	if err := p.needSymbol(","); err != nil {
		return err
	}
	w.hop, err = p.part("MAXDURATION", w.size.unit, false)
	return err
}

// part reads NAME '(' unit ',' int ')', or a bare number of the shared unit.
func (p *parser) part(name string, shared unit, signed bool) (span, error) {
	pos := p.peek().pos
	if p.word(name) {
		if err := p.needSymbol("("); err != nil {
			return span{}, err
		}
		s, err := p.unitAndCount(signed)
		if err != nil {
			return s, err
		}
		s.pos = pos
		return s, p.needSymbol(")")
	}
	n, err := p.integer("a whole number or "+name+"(unit, n)", signed)
	return span{pos, shared, n.n}, err
}

// duration reads unit ',' int or Duration(unit, int).
func (p *parser) duration() (span, error) {
	pos := p.peek().pos
	if p.word("DURATION") {
		if err := p.needSymbol("("); err != nil {
			return span{}, err
		}
		s, err := p.unitAndCount(false)
		if err != nil {
			return s, err
		}
		s.pos = pos
		return s, p.needSymbol(")")
	}
	return p.unitAndCount(false)
}

func (p *parser) unitAndCount(signed bool) (span, error) {
	t := p.peek()
	u := unitOf(t.text)
	if t.kind != tokName || !u.ofWindow() {
		return span{}, p.unexpected("day, hour, minute, second, millisecond or microsecond")
	}
	p.at++
	if err := p.needSymbol(","); err != nil {
		return span{}, err
	}
	n, err := p.integer("a whole number", signed)
	return span{t.pos, u, n.n}, err
}
