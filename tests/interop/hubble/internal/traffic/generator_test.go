package traffic

import (
	"testing"
	"time"

	flowpb "github.com/cilium/cilium/api/v1/flow"
	observerpb "github.com/cilium/cilium/api/v1/observer"
	"google.golang.org/protobuf/proto"
)

var noon = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

func TestSameSeedSameRecords(t *testing.T) {
	a, b := New(7, "n", 500).Fill(3000, noon), New(7, "n", 500).Fill(3000, noon)
	other := New(8, "n", 500).Fill(3000, noon)
	different := 0
	for i := range a {
		if !proto.Equal(a[i].GetFlow(), b[i].GetFlow()) {
			t.Fatalf("record %d differs: %v and %v", i, a[i].GetFlow(), b[i].GetFlow())
		}
		if !proto.Equal(a[i].GetFlow(), other[i].GetFlow()) {
			different++
		}
	}
	if different < 2900 {
		t.Errorf("another seed changed only %d of 3000 records", different)
	}
}

func TestFillIsExactAndInOrder(t *testing.T) {
	for _, n := range []int{1, 15, 16, 17, 500, 65535} {
		events := New(1, "n", 500).Fill(n, noon)
		if len(events) != n {
			t.Fatalf("%d records instead of %d", len(events), n)
		}
		if last := events[n-1].Timestamp.AsTime(); !last.Equal(noon) {
			t.Errorf("%d records: the last is of %v", n, last)
		}
		for i := 1; i < n; i++ {
			if events[i].Timestamp.AsTime().Before(events[i-1].Timestamp.AsTime()) {
				t.Fatalf("record %d of %d is older than the one before", i, n)
			}
		}
	}
}

func TestSizeDensityAndMix(t *testing.T) {
	const n = 65535
	gen := New(1, "worker1", 500)
	events := gen.Fill(n, noon)
	bytes, verdicts, drops, services := 0, 0, 0, 0
	destinations := map[string]bool{}
	for _, ev := range events {
		f := ev.GetFlow()
		bytes += proto.Size(&observerpb.GetFlowsResponse{
			ResponseTypes: &observerpb.GetFlowsResponse_Flow{Flow: f}, NodeName: f.NodeName, Time: f.Time,
		})
		destinations[f.GetIP().GetDestination()] = true
		if f.GetVerdict() != flowpb.Verdict_DROPPED || f.GetType() == flowpb.FlowType_L7 {
			continue
		}
		if f.IsReply != nil || f.Interface != nil {
			t.Fatalf("a denied packet's record with is_reply or interface: %v", f)
		}
		switch {
		case f.GetDropReasonDesc() == flowpb.DropReason_SERVICE_BACKEND_NOT_FOUND:
			services++
		case f.GetEventType().GetType() == eventDrop:
			drops++
		default:
			verdicts++
		}
	}
	if mean := bytes / n; mean < 600 || mean > 800 {
		t.Errorf("%d bytes a record on the wire, instead of about 700", mean)
	} else {
		t.Logf("%d bytes a record", mean)
	}
	if verdicts != drops || drops < n/20 || services == 0 {
		t.Errorf("%d denying verdicts, %d policy drops, %d drops without backend", verdicts, drops, services)
	}
	if len(destinations) < 900 {
		t.Errorf("only %d destinations", len(destinations))
	}
	span := noon.Sub(events[0].Timestamp.AsTime()).Seconds()
	if density := n / span; density < 350 || density > 650 {
		t.Errorf("%.0f records a second instead of about 500", density)
	} else {
		t.Logf("%.0f records a second, %d rows of truth", density, len(gen.Truth))
	}
}

// The truth is counted where attempts begin; the records must say the same: one attempt per source
// port, dropped where a policy or a missing service stopped it.
func TestTruthAgreesWithRecords(t *testing.T) {
	gen := New(3, "n", 500)
	type attempt struct {
		Row
		fromPort uint32
	}
	got := map[attempt]Outcome{}
	rank := map[Outcome]int{Forwarded: 1, Audited: 2, Dropped: 3}
	for _, ev := range gen.Fill(30000, noon) {
		f := ev.GetFlow()
		if f.TrafficDirection != flowpb.TrafficDirection_EGRESS || f.IsReply.GetValue() {
			continue
		}
		a := attempt{Row: Row{f.Source.Namespace, f.Source.PodName, f.IP.Destination, 0, ""}}
		switch l4 := f.L4.Protocol.(type) {
		case *flowpb.Layer4_TCP:
			a.Protocol, a.Port, a.fromPort = "TCP", l4.TCP.DestinationPort, l4.TCP.SourcePort
		case *flowpb.Layer4_UDP:
			a.Protocol, a.Port, a.fromPort = "UDP", l4.UDP.DestinationPort, l4.UDP.SourcePort
		default:
			continue
		}
		outcome := Forwarded
		switch f.Verdict {
		case flowpb.Verdict_DROPPED:
			outcome = Dropped
		case flowpb.Verdict_AUDIT:
			outcome = Audited
		}
		if rank[outcome] > rank[got[a]] {
			got[a] = outcome
		}
	}
	counted := map[Row]map[Outcome]int{}
	for a, outcome := range got {
		if counted[a.Row] == nil {
			counted[a.Row] = map[Outcome]int{}
		}
		counted[a.Row][outcome]++
	}
	if len(counted) != len(gen.Truth) {
		t.Fatalf("%d rows in the records, %d in the truth", len(counted), len(gen.Truth))
	}
	for row, truth := range gen.Truth {
		for _, outcome := range []Outcome{Forwarded, Dropped, Audited} {
			if counted[row][outcome] != truth[outcome] {
				t.Errorf("%v: %d %s in the records, %d in the truth", row, counted[row][outcome], outcome, truth[outcome])
			}
		}
	}
}
