package kafka

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// engineMetrics says how the engine is doing. Kafka's own consumer lag misleads
// here: it is counted from the committed offset, so one slow call makes it look
// huge. These gauges tell backlog, window and calls in flight apart.
type engineMetrics struct {
	engine *Engine

	backlog, window, finished, partitions, flight, waiting, bytes, limit *prometheus.Desc

	commits  *prometheus.HistogramVec
	aborts   *prometheus.CounterVec
	settled  *prometheus.CounterVec
	mapBytes *prometheus.HistogramVec
	restarts *prometheus.CounterVec
}

func newEngineMetrics(e *Engine) *engineMetrics {
	lane := []string{"lane"}
	part := []string{"lane", "topic", "partition"}
	desc := func(name, help string, labels []string) *prometheus.Desc {
		return prometheus.NewDesc("sira_engine_"+name, help, labels, nil)
	}
	return &engineMetrics{
		engine:     e,
		backlog:    desc("backlog_records", "Records of the partition that were not read yet.", part),
		window:     desc("window_records", "Offsets between the first unfinished record and the last one read.", part),
		finished:   desc("finished_uncommitted_records", "Finished requests that wait for a transaction.", part),
		partitions: desc("partitions", "Partitions owned.", lane),
		flight:     desc("in_flight_requests", "Requests handed to a worker and not finished.", lane),
		waiting:    desc("waiting_requests", "Requests read and waiting for a place.", lane),
		bytes:      desc("held_bytes", "Bytes of requests read and not finished.", lane),
		limit:      desc("concurrency_limit", "Most requests in flight that this machine keeps up with, as measured now.", nil),
		commits: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "sira_engine_commit_seconds", Help: "Time of a transaction from first produce to commit.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}, lane),
		aborts:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sira_engine_aborts_total", Help: "Transactions given up and tried again."}, lane),
		settled: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sira_engine_settled_total", Help: "Requests committed as done."}, lane),
		mapBytes: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "sira_engine_offset_map_bytes", Help: "Size of the committed map of finished offsets; the limit is 4096.",
			Buckets: []float64{0, 64, 256, 512, 1024, 2048, 3072, 4096},
		}, lane),
		restarts: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sira_engine_lane_restarts_total", Help: "Times a lane had to join its group anew."}, lane),
	}
}

// Describe implements prometheus.Collector.
func (m *engineMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.backlog, m.window, m.finished, m.partitions, m.flight, m.waiting, m.bytes, m.limit} {
		ch <- d
	}
	for _, c := range m.vectors() {
		c.Describe(ch)
	}
}

// begin shows the counters of a lane at zero: of one that appears with its first
// event, no rate can tell that there was one.
func (m *engineMetrics) begin(lane string) {
	m.aborts.WithLabelValues(lane)
	m.restarts.WithLabelValues(lane)
	m.settled.WithLabelValues(lane)
}

func (m *engineMetrics) vectors() []prometheus.Collector {
	return []prometheus.Collector{m.commits, m.aborts, m.settled, m.mapBytes, m.restarts}
}

// Collect implements prometheus.Collector.
func (m *engineMetrics) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for _, p := range m.engine.Partitions() {
		labels := []string{p.Lane, p.Topic, strconv.Itoa(int(p.Partition))}
		gauge(m.backlog, float64(p.Backlog), labels...)
		gauge(m.window, float64(p.Window), labels...)
		gauge(m.finished, float64(p.Finished), labels...)
	}
	gauge(m.limit, float64(m.engine.sched.currentLimit()))
	for i, l := range m.engine.cfg.Lanes {
		waiting, running := m.engine.sched.counts(i)
		gauge(m.waiting, float64(waiting), l.Name)
		gauge(m.flight, float64(running), l.Name)
		owned, bytes := 0, int64(0)
		if s := m.engine.session(i); s != nil {
			s.mu.Lock()
			owned = len(s.trackers)
			s.mu.Unlock()
			bytes = s.bytes.Load()
		}
		gauge(m.partitions, float64(owned), l.Name)
		gauge(m.bytes, float64(bytes), l.Name)
	}
	for _, c := range m.vectors() {
		c.Collect(ch)
	}
}

func (m *engineMetrics) committed(lane string, cuts []*cut, took time.Duration, err error) {
	if err != nil {
		m.aborts.WithLabelValues(lane).Inc()
		return
	}
	n := 0
	for _, c := range cuts {
		n += len(c.batch)
		m.mapBytes.WithLabelValues(lane).Observe(float64(len(c.metadata)))
	}
	m.settled.WithLabelValues(lane).Add(float64(n))
	m.commits.WithLabelValues(lane).Observe(took.Seconds())
}

// PartitionView is what the engine knows of a partition that it owns.
type PartitionView struct {
	Lane      string `json:"lane"`
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Backlog   int64  `json:"backlog"`  // records not read yet
	Window    int64  `json:"window"`   // offsets from the first unfinished one to the last one read
	Open      int    `json:"open"`     // read, not finished
	Finished  int    `json:"finished"` // finished, not committed
}

// Partitions returns a snapshot of the owned partitions.
func (e *Engine) Partitions() []PartitionView {
	var views []PartitionView
	for i, l := range e.cfg.Lanes {
		s := e.session(i)
		if s == nil {
			continue
		}
		s.mu.Lock()
		trackers := make([]*tracker, 0, len(s.trackers))
		for _, t := range s.trackers {
			trackers = append(trackers, t)
		}
		s.mu.Unlock()
		for _, t := range trackers {
			t.mu.Lock()
			v := PartitionView{Lane: l.Name, Topic: t.topic, Partition: t.partition, Open: t.open, Finished: t.ready}
			if t.low >= 0 {
				v.Window, v.Backlog = t.next-t.low, max(0, t.highest-t.next)
			}
			t.mu.Unlock()
			views = append(views, v)
		}
	}
	return views
}
