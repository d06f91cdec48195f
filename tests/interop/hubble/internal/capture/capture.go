// Package capture reads records that Hubble or its exporter wrote: JSON lines or one JSON
// array, each record wrapped in a GetFlowsResponse or a bare flow, gzip or not.
package capture

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sort"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	flowpb "github.com/cilium/cilium/api/v1/flow"
	observerpb "github.com/cilium/cilium/api/v1/observer"
	v1 "github.com/cilium/cilium/pkg/hubble/api/v1"
)

var decode = protojson.UnmarshalOptions{DiscardUnknown: true}

// Record is one JSON record as an event of the ring: a *flow.Flow or a *flow.LostEvent.
// A record without a time gets now, the time at which an agent would have read it.
func Record(line []byte, now time.Time) (*v1.Event, error) {
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(line, &keys); err != nil {
		return nil, err
	}
	resp := &observerpb.GetFlowsResponse{}
	var err error
	if wrapped(keys) {
		err = decode.Unmarshal(line, resp)
	} else {
		flow := &flowpb.Flow{}
		err = decode.Unmarshal(line, flow)
		if err == nil && proto.Size(flow) == 0 {
			err = errors.New("no field of a flow in it")
		}
		resp.ResponseTypes = &observerpb.GetFlowsResponse_Flow{Flow: flow}
	}
	if err != nil {
		return nil, err
	}
	switch {
	case resp.GetFlow() != nil:
		flow := resp.GetFlow()
		if flow.GetTime() == nil {
			flow.Time = resp.GetTime()
		}
		if flow.GetTime() == nil {
			flow.Time = timestamppb.New(now)
		}
		if flow.GetNodeName() == "" {
			flow.NodeName = resp.GetNodeName()
		}
		return &v1.Event{Timestamp: flow.Time, Event: flow}, nil
	case resp.GetLostEvents().GetSource() == flowpb.LostEventSource_HUBBLE_RING_BUFFER:
		// In a ring it would end every rewinding (--last, --since), and its count would be ignored.
		return nil, errors.New("lost events of HUBBLE_RING_BUFFER are made for each reader, no ring holds them")
	case resp.GetLostEvents() != nil:
		at := resp.GetTime()
		if at == nil {
			at = timestamppb.New(now)
		}
		return &v1.Event{Timestamp: at, Event: resp.GetLostEvents()}, nil
	}
	return nil, errors.New("neither a flow nor lost events")
}

func wrapped(keys map[string]json.RawMessage) bool {
	for _, arm := range []string{"flow", "lost_events", "lostEvents", "node_status", "nodeStatus"} {
		if _, ok := keys[arm]; ok {
			return true
		}
	}
	return false
}

// ReadFile returns the records of a file in time order (equal times keep the file's order),
// and one error per record that could not be read.
func ReadFile(path string, now time.Time) (events []*v1.Event, skipped []error, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	if bytes.HasPrefix(data, []byte{0x1f, 0x8b}) {
		zr, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", path, err)
		}
		if data, err = io.ReadAll(zr); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	for i, raw := range split(data) {
		ev, err := Record(raw, now)
		if err != nil {
			skipped = append(skipped, fmt.Errorf("%s: record %d: %w", path, i+1, err))
			continue
		}
		events = append(events, ev)
	}
	Sort(events)
	return events, skipped, nil
}

// Sort puts events in time order, as rewinding a ring for "since" needs them.
func Sort(events []*v1.Event) {
	sort.SliceStable(events, func(a, b int) bool {
		return events[a].Timestamp.AsTime().Before(events[b].Timestamp.AsTime())
	})
}

func split(data []byte) (records []json.RawMessage) {
	if trimmed := bytes.TrimSpace(data); bytes.HasPrefix(trimmed, []byte("[")) {
		if json.Unmarshal(trimmed, &records) == nil {
			return records
		}
	}
	lines := bufio.NewReader(bytes.NewReader(data))
	for {
		line, err := lines.ReadBytes('\n')
		if line = bytes.TrimSpace(line); len(line) > 0 {
			records = append(records, line)
		}
		if err != nil {
			return records
		}
	}
}
