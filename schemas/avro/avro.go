// Package avro is the public contract of Sira's topics: the Avro schemas of
// every record value, the codecs between those records and the Go structs of
// package schemas, the Confluent wire format they travel in, a client for any
// registry that speaks Confluent's API, and an embedded registry for
// development, tests and single machines.
//
// A record on the wire is a zero byte, the id of the schema that wrote it and
// the Avro body. Readers find the writer's schema by that id, so that old
// records stay readable by new code and new records by old code.
package avro
