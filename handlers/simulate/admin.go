package simulate

import (
	"encoding/json"
	"net"
	"net/http"
	"strings"

	"go.uber.org/zap"
)

// maxBehaviour bounds the body of a PUT.
const maxBehaviour = 1 << 20

// admin answers what comes under /_sim/.
func (s *Simulator) admin(w http.ResponseWriter, r *http.Request) {
	if !s.remoteAdmin && !fromHere(r) {
		http.Error(w, "/_sim/ answers callers on this machine only: set remote_admin to open it", http.StatusForbidden)
		return
	}
	path := strings.TrimPrefix(r.URL.Path, "/_sim/")
	name, one := strings.CutPrefix(path, "instances/")
	switch {
	case one && r.Method == http.MethodPut:
		s.put(w, r, name)
	case one && r.Method == http.MethodDelete:
		s.Unset(name)
		s.log.Info("instance unset", zap.String("instance", name))
		w.WriteHeader(http.StatusNoContent)
	case path == "instances" && r.Method == http.MethodGet:
		s.reply(w, s.Instances())
	case path == "stats" && r.Method == http.MethodGet:
		s.reply(w, s.Stats())
	case path == "reset" && r.Method == http.MethodPost:
		if r.URL.Query().Get("instances") == "true" {
			s.restore()
		}
		s.Reset()
		w.WriteHeader(http.StatusNoContent)
	default:
		http.Error(w, "there are PUT and DELETE /_sim/instances/{name}, GET /_sim/instances, GET /_sim/stats "+
			"and POST /_sim/reset[?instances=true]", http.StatusNotFound)
	}
}

func (s *Simulator) put(w http.ResponseWriter, r *http.Request, name string) {
	b, err := decodeBehaviour(http.MaxBytesReader(w, r.Body, maxBehaviour))
	if err == nil {
		err = s.Set(name, b)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.log.Info("instance set", zap.String("instance", name))
	w.WriteHeader(http.StatusNoContent)
}

func (s *Simulator) reply(w http.ResponseWriter, v any) {
	w.Header()["Content-Type"] = typeJSON
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		s.log.Debug("writing an answer", zap.Error(err))
	}
}

// fromHere reports whether the caller is on this machine and speaks to it by a local name. The second check keeps web
// pages out that let a name of theirs point here.
func fromHere(r *http.Request) bool {
	peer, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil || !net.ParseIP(peer).IsLoopback() {
		return false
	}
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	return host == "localhost" || net.ParseIP(strings.Trim(host, "[]")).IsLoopback()
}
