package main

// vendors returns how each provider's recordings are read, by the name of its
// folder. To add one, add a line.
func vendors() map[string]vendor {
	return map[string]vendor{}
}
