package kafka

import (
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Nobody joins a group within embeddedReturn of the start of a broker whose last one was killed, and no assignment comes into
// force within embeddedSettle of that. It is what group.initial.rebalance.delay.ms is for in Kafka.
const (
	embeddedReturn = 1500 * time.Millisecond
	embeddedSettle = 250 * time.Millisecond
)

// awaitMembers lets the members of groups come back together. A broker that is killed forgets them (Kafka would not: its groups
// are in a topic), and they find out one by one, with their next heartbeat. The first one to join would be given everything,
// and would work on what the others have in flight. When joins are let in, they are taken one after the other too; so the
// assignment of the first, which knows of nobody else, waits until it is too late.
func awaitMembers(c *kfake.Cluster, closed <-chan struct{}) {
	joins := time.Now().Add(embeddedReturn)
	for key, end := range map[kmsg.Key]time.Time{kmsg.JoinGroup: joins, kmsg.SyncGroup: joins.Add(embeddedSettle)} {
		c.ControlKey(key.Int16(), func(kmsg.Request) (kmsg.Response, error, bool) {
			left := time.Until(end)
			if left <= 0 {
				c.DropControl()
				return nil, nil, false
			}
			c.SleepControl(func() {
				wait := time.NewTimer(left)
				defer wait.Stop()
				select {
				case <-wait.C:
				case <-closed:
				}
			})
			return nil, nil, false
		})
	}
}
