package simulate

// toolSet is what a request says about tools, in either of the two forms that vendors use.
type toolSet struct {
	names    []string
	required bool
	named    string // the one to call; empty for any
}

// forced is the tool that has to be called, or nothing.
func (t *toolSet) forced() string {
	if !t.required {
		return ""
	}
	for _, name := range t.names {
		if t.named == "" || name == t.named {
			return name
		}
	}
	return ""
}

// tools passes the list of tools, whose names stand in {"name"} or in {"function":{"name"}}, and returns its bytes.
func (s *scanner) tools(t *toolSet) int {
	if s.peek() != '[' {
		s.skip()
		return 0
	}
	start := s.i
	for s.array(); s.element(); {
		if name := s.toolName(); name != "" {
			t.names = append(t.names, name)
		}
	}
	return s.i - start
}

func (s *scanner) toolName() (name string) {
	if s.peek() != '{' {
		s.skip()
		return ""
	}
	var key []byte
	for s.object(); s.field(&key); {
		switch string(key) {
		case "name":
			name, _ = s.text()
		case "function":
			if inner := s.toolName(); inner != "" {
				name = inner
			}
		default:
			s.skip()
		}
	}
	return name
}

// toolChoice passes "required", {"type":"function","function":{"name"}}, {"type":"any"} or {"type":"tool","name"};
// everything else leaves the choice to the model, which then answers with text.
func (s *scanner) toolChoice(t *toolSet) {
	if s.peek() != '{' {
		choice, _ := s.text()
		t.required = choice == "required"
		return
	}
	var key []byte
	for s.object(); s.field(&key); {
		switch string(key) {
		case "type":
			kind, _ := s.text()
			t.required = kind == "function" || kind == "any" || kind == "tool"
		case "name":
			t.named, _ = s.text()
		case "function":
			t.named = s.toolName()
		default:
			s.skip()
		}
	}
}

// messages passes a list of messages and returns their number, or -1 if it is not a list of objects with a role.
func (s *scanner) messages() int {
	if s.peek() != '[' {
		s.skip()
		return -1
	}
	n, bad := 0, false
	var key []byte
	for s.array(); s.element(); n++ {
		if s.peek() != '{' {
			s.skip()
			bad = true
			continue
		}
		role := false
		for s.object(); s.field(&key); {
			if string(key) == "role" {
				text, ok := s.text()
				role = ok && text != ""
				continue
			}
			s.skip()
		}
		bad = bad || !role
	}
	if bad {
		return -1
	}
	return n
}
