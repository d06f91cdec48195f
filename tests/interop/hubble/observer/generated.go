package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"runtime"
	"sync"
	"time"

	observerpb "github.com/cilium/cilium/api/v1/observer"
	v1 "github.com/cilium/cilium/pkg/hubble/api/v1"
	"google.golang.org/protobuf/types/known/timestamppb"

	"flowwatch.test/interop/internal/traffic"
)

// writeCapture writes events as `hubble observe -o json` prints them, without the spaces that
// protojson puts in at random. JSON is slow to make, so all processors make it in slices.
func writeCapture(path string, events []*v1.Event) (err error) {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() {
		if closing := file.Close(); err == nil {
			err = closing
		}
	}()
	const slice = 1000
	for len(events) > 0 {
		chunks := make([]bytes.Buffer, runtime.NumCPU())
		errs := make([]error, len(chunks))
		var wait sync.WaitGroup
		for i := range chunks {
			n := min(slice, len(events))
			part := events[:n]
			events = events[n:]
			wait.Go(func() { errs[i] = marshal(&chunks[i], part) })
		}
		wait.Wait()
		for i := range chunks {
			if errs[i] != nil {
				return errs[i]
			}
			if _, err := chunks[i].WriteTo(file); err != nil {
				return err
			}
		}
	}
	return nil
}

func marshal(out *bytes.Buffer, events []*v1.Event) error {
	for _, ev := range events {
		flow := ev.GetFlow()
		line, err := (&observerpb.GetFlowsResponse{
			ResponseTypes: &observerpb.GetFlowsResponse_Flow{Flow: flow},
			NodeName:      flow.NodeName,
			Time:          flow.Time,
		}).MarshalJSON()
		if err != nil {
			return err
		}
		if err := json.Compact(out, line); err != nil {
			return err
		}
		out.WriteByte('\n')
	}
	return nil
}

// writeTruth writes a JSON line per pod and egress destination of the generated records.
func writeTruth(path string, gen *traffic.Generator) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(file)
	lines := json.NewEncoder(out)
	for row, counts := range gen.Truth {
		line := struct {
			traffic.Row
			Forwarded int `json:"forwarded"`
			Dropped   int `json:"dropped"`
			Audited   int `json:"audited"`
		}{row, counts[traffic.Forwarded], counts[traffic.Dropped], counts[traffic.Audited]}
		if err := lines.Encode(line); err != nil {
			return err
		}
	}
	if err := out.Flush(); err != nil {
		return err
	}
	return file.Close()
}

// keepWriting writes generated records at a steady rate for ever: a small slice every few milliseconds, each
// record with the time at which it is written. A slice that comes late is made up for.
func keepWriting(feed *feeder, gen *traffic.Generator, perSecond float64) {
	gen.SetDensity(perSecond)
	const every = 5 * time.Millisecond
	start, written := time.Now(), 0.0
	for range time.Tick(every) {
		for due := time.Since(start).Seconds() * perSecond; written < due; written++ {
			flow := gen.Next()
			flow.Time = timestamppb.Now()
			feed.write(&v1.Event{Timestamp: flow.Time, Event: flow})
		}
	}
}

// generatedOnly is the observer's other use: a capture file, and no server.
func generatedOnly(c config, gen *traffic.Generator) error {
	events := gen.Fill(c.generate, c.end())
	if err := writeCapture(c.writeCapture, events); err != nil {
		return err
	}
	if c.truth != "" {
		if err := writeTruth(c.truth, gen); err != nil {
			return err
		}
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]int{"records": len(events)})
}
