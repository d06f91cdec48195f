// Package traffic makes up the records that Hubble would have of a busy node: the same for
// the same seed, of real shape (twin records of a denied packet, SYN retries, several traces of one
// connection, replies with swapped ends), and with the truth about what happened.
package traffic

import (
	"container/heap"
	"math/rand/v2"
	"time"

	flowpb "github.com/cilium/cilium/api/v1/flow"
	v1 "github.com/cilium/cilium/pkg/hubble/api/v1"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// recordsPerAttempt is what the mix in attempts.go comes to; with it a wanted rate of records
// becomes a rate of attempts.
const recordsPerAttempt = 4.2

// emitterVersion is the version of the module; Hubble's own constant is empty without the ldflags of a release.
const emitterVersion = "1.20.2"

// longestAttempt is an upper bound on the records of one attempt.
const longestAttempt = 16

// Outcome of an attempt as the truth counts it.
type Outcome string

const (
	Forwarded Outcome = "forwarded"
	Dropped   Outcome = "dropped"
	Audited   Outcome = "audited"
)

// Row is the truth about one pod and one egress destination (TCP and UDP): attempts by outcome.
type Row struct {
	Namespace string `json:"namespace"`
	Pod       string `json:"pod"`
	Address   string `json:"address"`
	Port      uint32 `json:"port"`
	Protocol  string `json:"protocol"`
}

// Generator yields records in the order of their times.
type Generator struct {
	rng     *rand.Rand
	world   *world
	node    string
	emitter *flowpb.Emitter
	file    *flowpb.FileInfo

	now, nextStart time.Duration // since the start of the made-up time
	interval       time.Duration // mean time between attempts
	limit, started int           // records: at most, and of all attempts so far
	pending        queue
	seq            uint64

	Truth map[Row]map[Outcome]int
}

// New returns a generator of about density records a second of made-up time.
func New(seed uint64, node string, density float64) *Generator {
	g := &Generator{
		rng:     rand.New(rand.NewPCG(seed, 0)),
		node:    node,
		emitter: &flowpb.Emitter{Name: v1.FlowEmitter, Version: emitterVersion},
		file:    &flowpb.FileInfo{Name: "bpf_lxc.c", Line: 1450},
		Truth:   map[Row]map[Outcome]int{},
	}
	g.world = newWorld(g.rng)
	g.SetDensity(density)
	return g
}

// SetDensity changes the records per second from here on.
func (g *Generator) SetDensity(density float64) {
	g.interval = time.Duration(recordsPerAttempt / density * float64(time.Second))
}

// Fill returns exactly n records whose last has the time end. All attempts in it are whole, so
// the truth holds for exactly these records.
func (g *Generator) Fill(n int, end time.Time) []*v1.Event {
	g.limit, g.started = n, g.pending.Len()
	offsets := make([]time.Duration, 0, n)
	events := make([]*v1.Event, 0, n)
	for range n {
		flow := g.Next()
		offsets = append(offsets, g.now)
		events = append(events, &v1.Event{Event: flow})
	}
	for i, ev := range events {
		ev.Timestamp = timestamppb.New(end.Add(offsets[i] - g.now))
		ev.GetFlow().Time = ev.Timestamp
	}
	g.limit, g.nextStart = 0, max(g.nextStart, g.now)
	return events
}

// Next returns the next record, without a time.
func (g *Generator) Next() *flowpb.Flow {
	for g.wantsMore() && (g.pending.Len() == 0 || g.pending[0].at >= g.nextStart) {
		g.now = g.nextStart
		if g.limit > 0 && g.limit-g.started < longestAttempt {
			g.probe()
		} else {
			g.startAny()
		}
		g.nextStart += time.Duration(g.rng.ExpFloat64() * float64(g.interval))
	}
	next := heap.Pop(&g.pending).(timed)
	g.now = next.at
	return next.flow
}

func (g *Generator) wantsMore() bool { return g.limit == 0 || g.started < g.limit }

// at plans a record of the attempt that starts now.
func (g *Generator) at(wait time.Duration, flow *flowpb.Flow) {
	g.seq++
	g.started++
	heap.Push(&g.pending, timed{g.now + wait, g.seq, flow})
}

func (g *Generator) count(c *connection, outcome Outcome) {
	row := Row{c.from.endpoint.Namespace, c.from.endpoint.PodName, c.to.address, c.toPort, c.protocol}
	if g.Truth[row] == nil {
		g.Truth[row] = map[Outcome]int{}
	}
	g.Truth[row][outcome]++
}

type timed struct {
	at   time.Duration
	seq  uint64
	flow *flowpb.Flow
}

type queue []timed

func (q queue) Len() int { return len(q) }
func (q queue) Less(a, b int) bool {
	return q[a].at < q[b].at || q[a].at == q[b].at && q[a].seq < q[b].seq
}
func (q queue) Swap(a, b int) { q[a], q[b] = q[b], q[a] }
func (q *queue) Push(x any)   { *q = append(*q, x.(timed)) }
func (q *queue) Pop() any {
	old := *q
	last := old[len(old)-1]
	*q = old[:len(old)-1]
	return last
}
