package kafkatest_test
import ("testing";"github.com/sira-ai/sira/integration/kafkatest")
func TestZZ(t *testing.T){ c:=kafkatest.Start(t, kafkatest.Options{Dir:"/tmp/kt/keep"}); c.Kill(); restart(t,c) }
