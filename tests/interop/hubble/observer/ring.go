package main

import (
	"context"
	"log/slog"
	"time"

	flowpb "github.com/cilium/cilium/api/v1/flow"
	v1 "github.com/cilium/cilium/pkg/hubble/api/v1"
	"github.com/cilium/cilium/pkg/hubble/container"
	"github.com/cilium/cilium/pkg/hubble/defaults"
	"github.com/cilium/cilium/pkg/hubble/observer"
	"github.com/cilium/cilium/pkg/hubble/observer/namespace"
	"github.com/cilium/cilium/pkg/hubble/observer/observeroption"
	observertypes "github.com/cilium/cilium/pkg/hubble/observer/types"
	"github.com/cilium/cilium/pkg/hubble/parser"
	"github.com/cilium/cilium/pkg/hubble/testutils"
	nodetypes "github.com/cilium/cilium/pkg/node/types"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// feeder puts finished records into the real observer, through the channel on which an agent
// puts its monitor events: so the ring, seen_flows and the namespaces are filled by Hubble itself.
//
// Hubble holds the newest record of the ring back until the next one is written. Tests want
// what they wrote, at once and alone, so the newest slot here is always a stand-in: when a record
// arrives, the stand-in (which no reader can have seen) becomes that record, and a new stand-in is
// written behind it. With holdBack the stand-in is left out and Hubble's own habit shows.
// In either case num_flows counts the slot that can't be read.
type feeder struct {
	obs      *observer.LocalObserverServer
	standIn  *v1.Event
	holdBack bool
	rename   string
}

// barrier is an event that only tells that all events before it are in the ring.
type barrier chan struct{}

// ready is the decoder given to the observer: records that are already flows pass as they
// are, everything else goes to the real parser.
type ready struct{ parser.Decoder }

func (d ready) Decode(e *observertypes.MonitorEvent) (*v1.Event, error) {
	if ev, ok := e.Payload.(*v1.Event); ok {
		return ev, nil
	}
	return d.Decoder.Decode(e)
}

func newFeeder(log *slog.Logger, capacity container.Capacity, holdBack bool, rename string) (*feeder, error) {
	real, err := parser.New(log, &testutils.NoopEndpointGetter, &testutils.NoopIdentityGetter,
		&testutils.NoopDNSGetter, &testutils.NoopIPGetter, &testutils.NoopServiceGetter,
		&testutils.NoopLinkGetter, &testutils.NoopPodMetadataGetter)
	if err != nil {
		return nil, err
	}
	f := &feeder{holdBack: holdBack, rename: rename}
	options := []observeroption.Option{
		observeroption.WithMaxFlows(capacity),
		observeroption.WithMonitorBuffer(1024),
		observeroption.WithLostEventSendInterval(defaults.LostEventSendInterval), // an agent's
		observeroption.WithOnMonitorEventFunc(passBarrier),
	}
	if !holdBack {
		options = append(options, observeroption.WithOnDecodedEventFunc(f.revealPrevious))
	}
	f.obs, err = observer.NewLocalServer(ready{real}, namespace.NewManager(), log, options...)
	if err != nil {
		return nil, err
	}
	go f.obs.Start()
	return f, nil
}

// begin makes an empty ring one that can be followed: a follower of a ring with fewer than two
// records waits for the ring's last slot, as good as for ever (an agent's ring starts with
// agent events, so nobody sees that there). The events are agent events, which GetFlows never
// sends, dated 1970 so that no since or until stops at them.
func (f *feeder) begin(empty bool) {
	ring := f.obs.GetRingBuffer()
	if empty {
		ring.Write(agentStart())
	}
	if !f.holdBack {
		f.standIn = agentStart()
		ring.Write(f.standIn)
	} else if empty {
		ring.Write(agentStart())
	}
}

func agentStart() *v1.Event {
	return &v1.Event{Timestamp: &timestamppb.Timestamp{}, Event: &flowpb.AgentEvent{
		Type:         flowpb.AgentEventType_AGENT_STARTED,
		Notification: &flowpb.AgentEvent_AgentStart{AgentStart: &flowpb.TimeNotification{}},
	}}
}

func (f *feeder) revealPrevious(_ context.Context, ev *v1.Event) (bool, error) {
	f.standIn.Timestamp, f.standIn.Event = ev.Timestamp, ev.Event
	f.standIn = ev
	return false, nil
}

func passBarrier(_ context.Context, e *observertypes.MonitorEvent) (bool, error) {
	if done, ok := e.Payload.(barrier); ok {
		close(done)
		return true, nil
	}
	return false, nil
}

// write queues one record; it blocks while the observer's queue is full.
func (f *feeder) write(ev *v1.Event) {
	if flow := ev.GetFlow(); flow != nil {
		switch {
		case f.rename != "":
			flow.NodeName = f.rename
		case flow.NodeName == "":
			flow.NodeName = nodetypes.GetAbsoluteNodeName()
		}
	}
	f.obs.GetEventsChannel() <- &observertypes.MonitorEvent{Timestamp: time.Now(), Payload: ev}
}

// flush returns when everything written before is in the ring.
func (f *feeder) flush() {
	done := make(barrier)
	f.obs.GetEventsChannel() <- &observertypes.MonitorEvent{Payload: done}
	<-done
}
