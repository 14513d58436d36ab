package embedded

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/ClickHouse/ch-go/proto"
)

const helloQuery = "SELECT displayName(), version(), revision(), timezone()"

// isHello recognises the query that clickhouse-go sends first on every HTTP connection.
func isHello(req *request, query url.Values) bool {
	return query.Get("client_protocol_version") != "" && strings.EqualFold(req.Format, "Native") &&
		string(req.SQL) == helloQuery
}

// hello answers by hand. The client decodes this one block at the protocol version it announces, with block info and a byte of
// serialisation kind in each column, and later blocks at the revision the answer names. The engine writes neither, which is
// revision 0 (clickhouse-go v2.48: conn_http.go, queryHello).
func (s *Server) hello(query url.Values) ([]byte, error) {
	protocol, err := strconv.Atoi(query.Get("client_protocol_version"))
	if err != nil || protocol < 0 {
		return nil, newException(codeBadArguments, "client_protocol_version is no number")
	}
	var name, version, timezone proto.ColStr
	name.Append(s.engine.displayName)
	version.Append(s.engine.version)
	timezone.Append(s.engine.timezone)
	revision := proto.ColUInt32{0}
	var buf proto.Buffer
	block := proto.Block{Columns: 4, Rows: 1, Info: proto.BlockInfo{BucketNum: -1}}
	err = block.EncodeBlock(&buf, protocol, proto.Input{
		{Name: "displayName()", Data: &name},
		{Name: "version()", Data: &version},
		{Name: "revision()", Data: &revision},
		{Name: "timezone()", Data: &timezone},
	})
	return buf.Buf, err
}
